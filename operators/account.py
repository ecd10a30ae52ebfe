# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks the remote API: what its worker is told with each job, and whether the network may be used for it at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import bpy

from ..engine.errors import EspalierError

ENGINE = "remote"
PACKAGE = __package__.rpartition(".")[0]
REQUESTS_PER_MINUTE = 50


def preferences() -> bpy.types.AddonPreferences:
    """Return the extension's preferences (see `preferences.EspalierPreferences`) as they are now."""
    return bpy.context.preferences.addons[PACKAGE].preferences


def of_engine(engine: str) -> dict[str, Any]:
    """Return what a worker of `engine` needs to ask its server, as plain data; it holds a secret.

    It crosses the pipe to the worker and is written nowhere. Quick, for it is called between two steps of the queue.
    """
    if engine != ENGINE:
        return {}
    chosen = preferences()
    return {
        "base_url": chosen.base_url,
        "key": chosen.api_key,
        "ca_bundle": bpy.path.abspath(chosen.ca_bundle) if chosen.ca_bundle else "",
        "max_side": chosen.max_side,
        "online": bool(bpy.app.online_access),
        "shared": str(shared_folder()),
        "requests_per_minute": REQUESTS_PER_MINUTE,
    }


def address() -> str:
    """Return the base URL that counts: of the environment, of the preferences, or the vendor's.

    Raises EspalierError `remote_url_invalid` or `remote_url_insecure`.
    """
    # Here, for enabling the extension must not wait for what only the remote engine needs.
    from ..engine.backends.remote.account import URL_VARIABLE, VENDOR_URL, checked_base

    return checked_base(os.environ.get(URL_VARIABLE, "") or preferences().base_url or VENDOR_URL)


def nearby() -> bool:
    """Tell whether the server is on this machine or in a private network, so that online access is not needed."""
    from ..engine.addresses import is_private

    try:
        return is_private(address())
    except EspalierError:
        return False


def ensure_online() -> None:
    """See to it that the network may be used, now, for the server.

    Raises EspalierError `remote_offline` or, where the command line decided, `remote_locked`; or as `address`.
    """
    from ..engine.addresses import host_of, is_private

    base = address()
    if not bpy.app.online_access and not is_private(base):
        raise EspalierError("remote_locked" if bpy.app.online_access_override else "remote_offline", host=host_of(base))


def problem() -> EspalierError | None:
    """Return what keeps the server from being asked, as far as it can be told without asking. Quick, for drawing."""
    try:
        ensure_online()
    except EspalierError as error:
        return error
    return None


def shared_folder() -> Path:
    """Return the folder that all Blenders of this person on this machine share, so that they keep one rate together."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "espalier"
