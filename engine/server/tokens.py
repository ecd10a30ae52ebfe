# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may use the server: tokens, of which only hashes are kept.

A token is 256 random bits, which nobody guesses; therefore a plain SHA-256 keeps it as safe as a slow hash would, and
costs each request microseconds.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from pathlib import Path
from typing import Any, Final

from ..errors import EspalierError
from ..files import make_folder, replacing
from .settings import Settings

PREFIX: Final = "sk-espalier-"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_LONGEST: Final = 256


class Tokens:
    """The tokens in the file `path`, by name. A running server takes up what a command changes there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state: tuple[int, int] = (-1, -1)
        self._hashes: dict[str, str] = {}

    def names(self) -> list[str]:
        """Return the names of all tokens. Raises EspalierError `server_tokens_damaged`."""
        self._load()
        return sorted(self._hashes)

    def add(self, name: str) -> str:
        """Make a token, and return it: it is never shown again.

        Raises EspalierError `server_token_name`, `server_token_taken`, or where the file cannot be written.
        """
        if not _NAME.fullmatch(name):
            raise EspalierError("server_token_name", name=name)
        if name in self.names():
            raise EspalierError("server_token_taken", name=name)
        token = PREFIX + secrets.token_urlsafe(32)
        self._write({**self._stored(), name: {"sha256": _hash(token), "created": time.time()}})
        return token

    def remove(self, name: str) -> None:
        """Make a token useless at once. Raises EspalierError `server_token_unknown`."""
        stored = self._stored()
        if stored.pop(name, None) is None:
            raise EspalierError("server_token_unknown", name=name)
        self._write(stored)

    def owner(self, token: str) -> str | None:
        """Return the name of `token`, None for one that is not known; either takes the same time."""
        self._load()
        presented = _hash(token[:_LONGEST])
        found = None
        for name, known in self._hashes.items():  # to the end, whatever is found
            if hmac.compare_digest(known, presented):
                found = name
        return found

    def _load(self) -> None:
        try:
            told = self._path.stat()
        except OSError:
            self._state, self._hashes = (-1, -1), {}
            return
        state = (told.st_mtime_ns, told.st_ino)
        if state != self._state:
            self._hashes = {name: str(entry["sha256"]) for name, entry in self._stored().items()}
            self._state = state

    def _stored(self) -> dict[str, Any]:
        try:
            stored = json.loads(self._path.read_text("utf-8"))
            if not all(isinstance(entry["sha256"], str) for entry in stored.values()):
                raise TypeError("a hash is not a text")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EspalierError("server_tokens_damaged", repr(error), path=self._path) from error
        return dict(stored)

    def _write(self, stored: dict[str, Any]) -> None:
        make_folder(self._path.parent)
        with replacing(self._path) as partial:
            partial.touch(mode=0o600)
            partial.write_text(json.dumps(stored, indent=2), "utf-8")


def ensure_safe(settings: Settings) -> None:
    """Raise EspalierError `server_open` where other machines could use the server without a token."""
    if not settings.local and not Tokens(settings.root / "tokens.json").names():
        raise EspalierError("server_open", host=settings.host)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
