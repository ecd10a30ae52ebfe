# SPDX-License-Identifier: GPL-3.0-or-later
"""The system's own keyring, where a key may lie under the service "espalier" and the name of the server's host."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import threading
import time
from typing import Any

SERVICE = "espalier"
_TIMEOUT_S = 5.0
_KEPT_S = 60.0
_lock = threading.Lock()
_kept: dict[str, tuple[float, str]] = {}
_COMMANDS = {
    "darwin": ("security", "find-generic-password", "-s", SERVICE, "-a", "{host}", "-w"),
    "linux": ("secret-tool", "lookup", "service", SERVICE, "host", "{host}"),
}


def recent_key(host: str) -> str:
    """Return what `stored_key` does, and for a minute again without asking: a hundred jobs are to open one prompt."""
    with _lock:
        moment, key = _kept.get(host, (0.0, ""))
        if host not in _kept or time.monotonic() - moment > _KEPT_S:
            key = stored_key(host)
            _kept[host] = (time.monotonic(), key)
        return key


def stored_key(host: str) -> str:
    """Return the key for `host` from the macOS keychain, the Secret Service or the Windows Credential Manager.

    An empty text where there is no keyring, it holds no such key, or does not answer within seconds.
    """
    if sys.platform == "win32":
        return _credential(f"{SERVICE}/{host}")
    command = _COMMANDS.get(sys.platform)
    program = shutil.which(command[0]) if command else None
    if command is None or program is None:
        return ""
    try:
        found = subprocess.run(
            [program, *(part.format(host=host) for part in command[1:])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.decode("utf-8", "replace").strip() if found.returncode == 0 else ""


def _credential(target: str) -> str:
    """Return the secret of the generic credential `target` (CredReadW)."""
    if sys.platform != "win32":
        return ""
    windows: Any = ctypes

    class Credential(ctypes.Structure):
        _fields_ = [
            ("flags", ctypes.c_uint32),
            ("type", ctypes.c_uint32),
            ("target", ctypes.c_wchar_p),
            ("comment", ctypes.c_wchar_p),
            ("written", ctypes.c_uint64),
            ("size", ctypes.c_uint32),
            ("blob", ctypes.POINTER(ctypes.c_ubyte)),
        ]

    library = windows.WinDLL("advapi32")
    found = ctypes.POINTER(Credential)()
    if not library.CredReadW(ctypes.c_wchar_p(target), 1, 0, ctypes.byref(found)):
        return ""
    try:
        data = bytes(found.contents.blob[: found.contents.size])
    finally:
        library.CredFree(found)
    # What cmdkey and the control panel write is UTF-16; other programs write UTF-8.
    return data.decode("utf-16-le" if b"\0" in data[:2] else "utf-8", "replace").strip()
