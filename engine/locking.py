# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks on open files, which end with the process that holds them, however it ends."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import msvcrt

    def lock(descriptor: int) -> bool:
        """Lock the open file `descriptor` unless another one has; tell whether it is locked now."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Give up the lock on the open file `descriptor`."""
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def lock(descriptor: int) -> bool:
        """Lock the open file `descriptor` unless another one has; tell whether it is locked now."""
        # flock, as the locks of lockf are of a process: two queues in one process would not see each other's.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Give up the lock on the open file `descriptor`."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)
