# SPDX-License-Identifier: GPL-3.0-or-later
"""The parent's hold on a worker: the process and everything it started end together.

On POSIX the worker leads a session of its own and its process group is signalled; on Windows it lives in a job object
that the system ends when the last handle to it is closed, which is also when the parent is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any


class Contained:
    """A running child process with pipes on its three standard streams. Raises OSError where it cannot be started.

    On Linux the thread that makes this object must outlive the child: the child asks to be told when its parent dies,
    and the kernel means the thread.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        options: dict[str, Any] = {}
        if sys.platform == "win32":
            options["creationflags"] = (
                subprocess.CREATE_NO_WINDOW
                | subprocess.CREATE_NEW_PROCESS_GROUP
                | subprocess.BELOW_NORMAL_PRIORITY_CLASS
            )
        else:
            options["start_new_session"] = True
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            **options,
        )
        self._lock = threading.Lock()
        self._reaped = False
        if sys.platform == "win32":
            self._job = _windows_job(self.process)

    def terminate(self) -> None:
        """Ask the process and its descendants to end; on Windows, end them."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process and its descendants."""
        if sys.platform == "win32":
            self._signal(signal.SIGTERM)
        else:
            self._signal(signal.SIGKILL)

    def wait(self) -> int:
        """Wait until the process has ended, end what it left behind, and return its exit code as Popen does."""
        if sys.platform == "win32":
            code = self.process.wait()
            self._signal(signal.SIGTERM)
            with self._lock:
                self._reaped = True
                _windows_close(self._job)
            return code
        if hasattr(os, "waitid"):
            # Until it is reaped its number, which is also its group's, cannot be given to a stranger.
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self.process.wait()
        with self._lock:
            self._kill_group(signal.SIGKILL)
            self._reaped = True
            return self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            if self._reaped:
                return
            if sys.platform == "win32":
                _windows_end(self._job, self.process)
            else:
                self._kill_group(number)

    def _kill_group(self, number: signal.Signals) -> None:
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    class _BasicLimits(ctypes.Structure):
        _fields_ = [
            ("PerProcessUserTimeLimit", wintypes.LARGE_INTEGER),
            ("PerJobUserTimeLimit", wintypes.LARGE_INTEGER),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        ]

    class _ExtendedLimits(ctypes.Structure):
        _fields_ = [
            ("BasicLimitInformation", _BasicLimits),
            ("IoInfo", ctypes.c_ulonglong * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        ]

    _EXTENDED_LIMIT_INFORMATION = 9
    _KILL_ON_JOB_CLOSE = 0x2000

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.CreateJobObjectW.argtypes = (ctypes.c_void_p, wintypes.LPCWSTR)
    _kernel.CreateJobObjectW.restype = wintypes.HANDLE
    _kernel.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
    _kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
    _kernel.TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
    _kernel.CloseHandle.argtypes = (wintypes.HANDLE,)

    def _windows_job(process: subprocess.Popen[bytes]) -> int | None:
        """Return a job object that holds `process`, or None where the system refuses one."""
        handle = int(vars(process)["_handle"])
        job: int | None = _kernel.CreateJobObjectW(None, None)
        if not job:
            return None
        limits = _ExtendedLimits()
        limits.BasicLimitInformation.LimitFlags = _KILL_ON_JOB_CLOSE
        if _kernel.SetInformationJobObject(
            job, _EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), ctypes.sizeof(limits)
        ) and _kernel.AssignProcessToJobObject(job, handle):
            return job
        _kernel.CloseHandle(job)
        return None

    def _windows_end(job: int | None, process: subprocess.Popen[bytes]) -> None:
        if not (job and _kernel.TerminateJobObject(job, 1)):
            process.kill()

    def _windows_close(job: int | None) -> None:
        if job:
            _kernel.CloseHandle(job)
