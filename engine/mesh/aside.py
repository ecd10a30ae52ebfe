# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions carried out in a process beside this one, because the libraries that they call hold the interpreter.

Meanwhile this process gets on with other work, hears at once that the job was cancelled, and can end the other.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from ..errors import EspalierError
from ..progress import Progress, Run, Stage

T = TypeVar("T")
POLL_S = 0.05
_ROOT = Path(__file__).resolve().parents[2]
_PACKAGE = __name__.removesuffix("engine.mesh.aside")
"""What this package is called inside Blender, up to `engine`; in the other process, nothing."""
_BOOTSTRAP = """
import sys
sys.dont_write_bytecode, sys.pycache_prefix = not sys.argv[1], sys.argv[1] or None
sys.path[:0] = sys.argv[2:]
from engine.mesh.aside import serve
serve()
"""


class Aside:
    """The other process, which starts at once and ends with this context. Its calls follow one another.

    `functions` are some that will be called: their modules are loaded at once. It finds them compiled where this
    process does, and leaves there what it compiles.
    """

    def __init__(self, *functions: Callable[..., Any]) -> None:
        paths = [str(_ROOT), *(path for path in sys.path if path)]
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NO_WINDOW
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOTSTRAP, sys.pycache_prefix or "", *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            creationflags=flags,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(_module, functions)).encode() + b"\n")
        self._process.stdin.flush()

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):  # what could not be written is not wanted any more
                stream.close()

    def call(self, function: Callable[..., T], *args: Any, run: Run | None = None) -> T:
        """Return `function(*args, run=...)`, a function of a module of this package, with its progress told to `run`.

        Arguments and result are copied. Raises what an EspalierError says, Cancelled within `POLL_S`, MemoryError
        where there is not enough or the system ended the process, and RuntimeError for any other end of it.
        """
        answers: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        threading.Thread(target=self._exchange, args=(function, args, answers), name="aside", daemon=True).start()
        while True:
            try:
                kind, value = answers.get(timeout=POLL_S)
            except Empty:
                if run is not None:
                    run.check()
                continue
            if kind == "progress":
                if run is not None:
                    run.progress(value)
            elif kind == "failed":
                raise EspalierError.from_json(value)
            elif kind == "memory":
                raise MemoryError
            elif kind == "ended":
                code = self._process.wait()
                raise MemoryError if code == -9 else RuntimeError(f"{function.__qualname__} ended with code {code}")
            else:
                return value  # type: ignore[no-any-return]

    def _exchange(self, function: Callable[..., T], args: Any, answers: SimpleQueue[tuple[str, Any]]) -> None:
        """Write the order and read until its result. Runs in a thread."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = (_module(function), function.__qualname__, args)
        try:
            pickle.dump(order, self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
            kind = "progress"
            while kind == "progress":
                kind, value = _Reader(self._process.stdout).load()
                answers.put((kind, value))
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            answers.put(("ended", None))


def _module(function: Callable[..., Any]) -> str:
    return function.__module__.removeprefix(_PACKAGE)


class _Reader(pickle.Unpickler):
    """Reads what the same package wrote under another name."""

    def find_class(self, module: str, name: str) -> Any:
        head, engine, rest = module.partition("engine.mesh.")
        return super().find_class(f"{_PACKAGE}{engine}{rest}" if engine else head, name)


def serve() -> None:
    """Carry out calls until there is nobody left to make any. Runs in the other process."""
    orders = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    sys.stdout = io.TextIOWrapper(os.fdopen(os.dup(2), "wb"), line_buffering=True)

    for module in orders.readline().split():
        import_module(module.decode())

    def answer(kind: str, value: object) -> None:
        pickle.dump((kind, value), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()

    def report(progress: Progress) -> None:
        answer("progress", progress.fraction)

    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            module, name, args = _Reader(orders).load()
            function = getattr(import_module(module), name)
            run = Run((Stage("aside", "", 1.0),), report)
            try:
                with run.stage("aside"):
                    value = function(*args, run=run)
            except EspalierError as error:
                answer("failed", error.to_json())
            except MemoryError:
                answer("memory", None)
            else:
                answer("result", value)
