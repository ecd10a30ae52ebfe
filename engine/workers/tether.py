# SPDX-License-Identifier: GPL-3.0-or-later
"""The child's tie to its parent: when the parent is gone, however it went, the child and all it started end at once."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time

if sys.platform != "win32":
    import resource

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.5


def tie(parent: int) -> None:
    """Arrange that this process ends with the process `parent`, leaves no core, and gives way to Blender.

    The end of the standard input is the first sign of the parent's death (see `main`); this is for a child that cannot
    look at its input, because native code holds Python's lock. Linux tells the child by a signal; elsewhere on POSIX
    a thread looks who the parent is. On Windows the parent's job object does it all.
    """
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        os.nice(5)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the memory of a worker may hold a key
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        # A handler of machine code, as Python's own would wait for Python's lock: on SIGQUIT, which is number 3, the
        # system calls alarm(3), and three seconds later SIGALRM ends the process, unless `end` was quicker. Only `end`
        # ends what the process started, too, and on a machine that is full it takes its time.
        libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
        libc.signal.restype = ctypes.c_void_p
        libc.signal(int(signal.SIGQUIT), ctypes.cast(libc.alarm, ctypes.c_void_p))
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT), 0, 0, 0)
        if os.getppid() != parent:  # it died before the signal was asked for
            end()
    else:
        threading.Thread(target=_watch, args=(parent,), name="parent watch", daemon=True).start()


def end() -> None:
    """End this process and everything it started, now."""
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    end()
