# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that upstream imports and the engine never calls, because it does what they do in another way."""

from __future__ import annotations

from typing import Any


class NotPortable(NotImplementedError):
    """Something was called of which the stand-in has only the name."""


def absent(package: str, *names: str) -> dict[str, Any]:
    """Return for each of `names` something that may be imported, and that raises NotPortable once it is called."""

    def caller(name: str) -> Any:
        def call(*_: Any, **__: Any) -> Any:
            raise NotPortable(f"{package}.{name} needs the real package {package.partition('.')[0]}")

        call.__name__ = call.__qualname__ = name
        return call

    return {name: caller(name) for name in names}
