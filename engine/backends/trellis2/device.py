# SPDX-License-Identifier: GPL-3.0-or-later
"""The device that the models run on: which one, how much of its memory is free, and what counts as too little."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from ...errors import EspalierError
from .compilers import compiler, needs_compiler


class Device:
    """One device of PyTorch: "cuda" (also of AMD), "mps" or "cpu"."""

    def __init__(self, name: str) -> None:
        self.torch = torch.device(name)
        self.kind = self.torch.type

    @property
    def label(self) -> str:
        """What to call it."""
        return str(torch.cuda.get_device_name(self.torch)) if self.kind == "cuda" else self.kind.upper()

    def memory(self) -> tuple[int, int]:
        """Return the bytes that are free and that there are; on the CPU, of the machine."""
        if self.kind == "cuda":
            free, total = torch.cuda.mem_get_info(self.torch)
            # What PyTorch holds without using it is free to us.
            idle = torch.cuda.memory_reserved(self.torch) - torch.cuda.memory_allocated(self.torch)
            return int(free + idle), int(total)
        return host_memory()

    def begin_peak(self) -> None:
        """Measure the most that is in use from here on."""
        if self.kind == "cuda":
            torch.cuda.reset_peak_memory_stats(self.torch)

    def peak(self) -> int | None:
        """Return the most bytes in use since `begin_peak`, or None where nobody counts them."""
        return int(torch.cuda.max_memory_allocated(self.torch)) if self.kind == "cuda" else None

    def finish(self) -> None:
        """Wait until all that was begun is done, so that times are true."""
        if self.kind == "cuda":
            torch.cuda.synchronize(self.torch)

    def release(self) -> None:
        """Give back to the system what PyTorch keeps in store."""
        gc.collect()
        if self.kind == "cuda":
            torch.cuda.empty_cache()
        elif self.kind == "mps":
            torch.mps.empty_cache()


def choose(name: str) -> Device:
    """Return the device called `name`, or the best there is for "".

    A numbered card ("cuda:1") becomes the current one, because compiled kernels launch there whatever their tensors
    say. The CPU is only taken where it is asked for: it would need hours. Raises EspalierError `trellis2_device`,
    `trellis2_no_gpu`, `trellis2_torch_cpu`, `trellis2_driver`, `trellis2_architecture` or `trellis2_compiler`.
    """
    if name == "cpu":
        return Device(name)
    if not name and sys.platform == "darwin" and torch.backends.mps.is_available():
        return Device("mps")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise EspalierError("trellis2_no_gpu")
        return Device(name)
    kind, _, number = (name or "cuda").partition(":")
    if kind != "cuda" or not (number.isdecimal() or ":" not in name):
        raise EspalierError("trellis2_device", device=name)
    card = int(number or 0)
    _ensure_cuda(card)
    device = Device(f"cuda:{card}" if number else "cuda")
    if number:
        torch.cuda.set_device(card)
    return device


def _ensure_cuda(card: int) -> None:
    built = torch.version.cuda or getattr(torch.version, "hip", None)
    gpu_seen = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()
    if built is None:
        raise EspalierError("trellis2_torch_cpu", version=torch.__version__)
    if not torch.cuda.is_available() or torch.cuda.device_count() == 0:
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:
            if gpu_seen or ("driver" in str(error).lower() and "no nvidia driver" not in str(error).lower()):
                raise EspalierError("trellis2_driver", str(error), cuda=built) from None
        raise EspalierError("trellis2_no_gpu")
    if card >= torch.cuda.device_count():
        raise EspalierError("trellis2_device", device=f"cuda:{card}")
    if torch.version.cuda:
        major, minor = torch.cuda.get_device_capability(card)
        if not is_built_for(major, minor, torch.cuda.get_arch_list()):
            raise EspalierError(
                "trellis2_architecture",
                gpu=torch.cuda.get_device_name(card),
                capability=f"{major}.{minor}",
                built=", ".join(torch.cuda.get_arch_list()),
            )
        if needs_compiler() and compiler() is None:
            raise EspalierError("trellis2_compiler")


def is_built_for(major: int, minor: int, architectures: list[str]) -> bool:
    """Tell whether code for `architectures` ("sm_90", "compute_120") runs on the compute capability.

    Machine code runs on the same major version from its minor one on; intermediate code on all that came later.
    """
    for architecture in architectures:
        kind, _, digits = architecture.partition("_")
        digits = digits.rstrip("af")
        if not digits.isdecimal():
            continue
        of = int(digits[:-1]), int(digits[-1])
        if of <= (major, minor) and (kind == "compute" or of[0] == major):
            return True
    return False


def host_memory() -> tuple[int, int]:
    """Return the bytes of the machine's memory that are free and that there are; (0, 0) where that is not known."""
    try:
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
    except OSError:
        return _sysconf()
    found = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.endswith("kB")}
    return found.get("MemAvailable", 0), found.get("MemTotal", 0)


def _sysconf() -> tuple[int, int]:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total = page * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0, 0
    return total // 2, total


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether `error`, of PyTorch, of a CUDA library, or of Python, says that there is too little memory."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        said in words for said in ("out of memory", "cublas_status_alloc_failed", "can't allocate memory")
    )


def is_ours(error: Any) -> bool:
    """Tell whether `error` is already one that a person can read."""
    return isinstance(error, EspalierError)
