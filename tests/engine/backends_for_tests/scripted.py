# SPDX-License-Identifier: GPL-3.0-or-later
"""A backend that does what the name of the request says, in the child process of the tests.

The name is one word and an optional number, `slow 2`. Each finished generate appends the image's name to the file
that ESPALIER_TEST_PAID names.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.backends.base import Asset, JobRun
from engine.errors import EspalierError
from engine.progress import Cancelled, Run, Stage
from engine.request import GenerationRequest


def triangle_glb() -> bytes:
    """Return a GLB 2.0 file of one triangle without a material."""
    data = struct.pack("<9f3H", 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 2) + b"\0\0"
    described = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {
                "bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3",
                "min": [0, 0, 0], "max": [1, 1, 0],
            },
            {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": 6},
        ],
        "buffers": [{"byteLength": len(data)}],
    }  # fmt: skip
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(data)
    return (
        struct.pack("<4sII", b"glTF", 2, total)
        + struct.pack("<I4s", len(text), b"JSON")
        + text
        + struct.pack("<I4s", len(data), b"BIN\0")
        + data
    )


def note(line: str, name: str = "ESPALIER_TEST_PAID") -> None:
    """Append `line` to the file that the environment calls `name`: what the world outside has seen."""
    if name in os.environ:
        with open(os.environ[name], "ab") as file:
            file.write(line.encode() + b"\n")


def die(point: str) -> None:
    """End this process by SIGKILL if it is to die at `point`; once in all, if a file is named that remembers it."""
    wanted, _, marker = os.environ.get("ESPALIER_TEST_DIE", "").partition(" ")
    if wanted == point and not (marker and os.path.exists(marker)):
        if marker:
            open(marker, "x").close()
        os.kill(os.getpid(), signal.SIGKILL)


def hold_the_lock(seconds: float) -> None:
    """Sleep in C without giving up Python's lock, as native code that hangs does: no other thread runs."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


class Scripted:
    """Follows the script in the request's name."""

    jobs_at_once = 1

    name = "scripted"
    version = "1"
    stages = (Stage("draw", "Drawing", 3), Stage("paint", "Painting", 1))

    def generate(self, request: GenerationRequest, folder: Path, run: Run) -> Asset:
        """Make one triangle, or whatever the script wants."""
        word, _, number = request.name.partition(" ")
        with run.stage("draw"):
            (folder / "half.bin").write_bytes(b"half")
            run.image = os.path.basename(request.image)  # type: ignore[attr-defined]
            getattr(self, word.replace("-", "_"))(run, float(number or 0))
        with run.stage("paint"):
            (folder / "half.bin").unlink(missing_ok=True)
            (folder / "made.glb").write_bytes(triangle_glb())
        if not getattr(run, "remote_id", ""):
            note(os.path.basename(request.image))
        facts: dict[str, Any] = {"attempt": folder.name, "remote_id": getattr(run, "remote_id", "")}
        facts |= {"expected_s": dict(getattr(run, "expected_s", ())), "account": sorted(getattr(run, "account", ()))}
        if facts["remote_id"]:
            facts["server"] = run.server  # type: ignore[attr-defined]
            facts["cost_usd"] = 0.25
        return Asset(folder / "made.glb", notices=("It is a triangle",), facts=facts)

    def close(self) -> None:
        """Say so in the log."""
        print("closed", file=sys.stderr, flush=True)

    def quick(self, run: Run, number: float) -> None:
        run.progress(0.5)

    def slow(self, run: Run, number: float) -> None:
        start = time.monotonic()
        while (passed := time.monotonic() - start) < number:
            run.progress(passed / number, f"{passed:.1f} s")
            time.sleep(0.01)

    def orders(self, run: JobRun, number: float) -> None:
        """Order what is billed from a server, unless it is ordered already, then wait for it."""
        self.posts(run, 0.0)
        die("polling")
        self.slow(run, number)
        die("fetched")

    def posts(self, run: JobRun, number: float) -> None:
        """Have a server accept a request, which takes it some seconds, unless it has done so already."""
        if run.remote_id:
            return
        die("begun")
        run.server = "the shop"
        run.submitting(hashlib.sha256(run.image.encode()).hexdigest())  # type: ignore[attr-defined]
        die("written")
        note(run.image)  # type: ignore[attr-defined]
        self.slow(run, number)
        die("posted")
        run.accepted(f"r-{run.image}")  # type: ignore[attr-defined]
        die("accepted")

    def deaf(self, run: JobRun, number: float) -> None:
        """Order, then never reach a cancel point."""
        self.posts(run, 0.0)
        time.sleep(number)

    def refused(self, run: JobRun, number: float) -> None:
        """Be told by the server that it does not take the request."""
        run.submitting("digest")
        run.ended()
        raise EspalierError("background_busy", path="photo.png")

    def gone(self, run: JobRun, number: float) -> None:
        """Find that the server is done with the job, the first time that it is asked after."""
        if run.remote_id:
            run.ended()
            raise EspalierError("background_busy", path="photo.png")
        self.posts(run, 0.0)
        raise OSError(errno.ENOSPC, "No space left on device")

    def bug_in_post(self, run: JobRun, number: float) -> None:
        """Break down before the server's answer was understood."""
        run.submitting("digest")
        raise RuntimeError("a bug of the engine")

    def ask(
        self,
        question: str,
        account: Mapping[str, Any],
        cancelled: Callable[[], bool],
        about: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Answer that one was asked, fail, or die."""
        if question == "fail":
            raise EspalierError("background_busy", path="photo.png")
        if question == "bug":
            raise RuntimeError("a bug of the engine")
        if question == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if question == "wait":
            while not cancelled():
                time.sleep(0.01)
            raise Cancelled
        return {"question": question, "account": sorted(account), "pid": os.getpid()}

    def stuck(self, run: Run, number: float) -> None:
        """Never reach a cancel point, while the heartbeat goes on."""
        time.sleep(number)

    def stubborn(self, run: Run, number: float) -> None:
        """Like `stuck`, and deaf to SIGTERM."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        time.sleep(number)

    def frozen(self, run: Run, number: float) -> None:
        hold_the_lock(number)

    def stopped(self, run: Run, number: float) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def killed(self, run: Run, number: float) -> None:
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    def crash(self, run: Run, number: float) -> None:
        ctypes.string_at(0)

    def quits(self, run: Run, number: float) -> None:
        os._exit(int(number))

    def prints(self, run: Run, number: float) -> None:
        print('{"type":"result"} from print')
        print("reads " + repr(sys.stdin.read()))
        os.write(1, b"written to descriptor 1\n")
        libc = ctypes.CDLL(None)
        libc.puts(b"put by C")
        libc.fflush(None)
        subprocess.run([sys.executable, "-c", "print('printed by a child')"], check=True)

    def floods(self, run: Run, number: float) -> None:
        for line in range(int(number)):
            print(f"line {line} " + "x" * 90, file=sys.stderr)

    def garbles(self, run: Run, number: float) -> None:
        """Write on the very pipe of the protocol, which a library can only do on purpose."""
        for descriptor in range(3, 20):
            try:
                os.write(descriptor, b"this is not a message\n")
            except OSError:
                continue
        time.sleep(number)

    def memory(self, run: Run, number: float) -> None:
        raise MemoryError

    def module(self, run: Run, number: float) -> None:
        import espalier_has_no_such_module  # noqa: F401

    def full(self, run: Run, number: float) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def denied(self, run: Run, number: float) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    def bug(self, run: Run, number: float) -> None:
        raise RuntimeError("a bug of the engine")

    def busy_background(self, run: Run, number: float) -> None:
        raise EspalierError("background_busy", path="photo.png")

    def breeds(self, run: Run, number: float) -> None:
        """Start a process that would outlive this one, and fork another that holds the pipes."""
        subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({number})  # bred"])
        if os.fork() == 0:
            time.sleep(number)
            os._exit(0)
        self.slow(run, number)

    def threads(self, run: Run, number: float) -> None:
        """Work hard in another thread while the job waits."""
        done = threading.Event()
        threading.Thread(target=lambda: (sum(range(10**7)), done.set()), daemon=True).start()
        while not done.wait(0.01):
            run.check()


def create() -> Scripted:
    """Return the backend, with the real preparation of the import."""
    return Scripted()


def create_light() -> Scripted:
    """Return the backend without NumPy: the preparation of the import does nothing."""
    module = types.ModuleType("engine.mesh.prepare")
    module.prepare = lambda glb, folder, run=None: {"vertices": 3, "faces": 1}  # type: ignore[attr-defined]
    sys.modules["engine.mesh.prepare"] = module
    return Scripted()


def create_many() -> Scripted:
    """Return a light backend that makes several jobs at once."""
    backend = create_light()
    backend.jobs_at_once = 8
    return backend


def create_without_threads() -> Scripted:
    """Return a backend for many jobs at once, on a system that has no threads for them."""

    class NoThread(threading.Thread):
        def start(self) -> None:
            if self.name == "helper":
                raise RuntimeError("can't start new thread")
            super().start()

    threading.Thread = NoThread  # type: ignore[misc]
    return create_many()


def create_never() -> Scripted:
    """Fail to load for want of a module."""
    import espalier_has_no_such_module  # noqa: F401

    return Scripted()


def create_broken() -> Scripted:
    """Fail to load because of a bug."""
    raise RuntimeError("cannot be made")


def create_dying() -> Scripted:
    """Die while loading."""
    print("about to die", file=sys.stderr, flush=True)
    os._exit(7)


def create_slowly() -> Scripted:
    """Take a while to load."""
    time.sleep(1.5)
    return create_light()


def create_mute() -> Scripted:
    """Hang while loading, with Python's lock held."""
    hold_the_lock(60)
    return Scripted()
