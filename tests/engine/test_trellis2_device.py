# SPDX-License-Identifier: GPL-3.0-or-later
"""The device: what a machine may lack, each with its remedy, and which cards code runs on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed in this environment")

from engine.backends.base import JobRun  # noqa: E402
from engine.backends.trellis2 import device as devices  # noqa: E402
from engine.backends.trellis2.settings import Settings  # noqa: E402
from engine.errors import EspalierError  # noqa: E402
from engine.request import GenerationRequest  # noqa: E402

pytest.importorskip("safetensors", reason="safetensors is not installed in this environment")
from engine.backends.trellis2.backend import Trellis2Backend  # noqa: E402


def failure(act: Callable[[], object]) -> EspalierError:
    with pytest.raises(EspalierError) as caught:
        act()
    return caught.value


class _Cuda:
    """What is asked of `torch.cuda`, answered as a test wants."""

    def __init__(
        self, available: bool, error: str = "", capability: tuple[int, int] = (9, 0), older: tuple[int, int] = (9, 0)
    ) -> None:
        self._available, self._error, self._capabilities = available, error, (capability, older)
        self.current = 0

    def is_available(self) -> bool:
        return self._available

    def device_count(self) -> int:
        return len(self._capabilities) if self._available else 0

    def init(self) -> None:
        if self._error:
            raise RuntimeError(self._error)

    def get_device_capability(self, card: int) -> tuple[int, int]:
        return self._capabilities[card]

    def set_device(self, card: int) -> None:
        self.current = card

    def get_arch_list(self) -> list[str]:
        return ["sm_80", "sm_90", "compute_90"]

    def get_device_name(self, card: int) -> str:
        return f"Card {card}"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have PyTorch be built for a CUDA, with the driver and the card of a test."""

    def built(cuda: _Cuda, version: str | None = "12.8") -> None:
        monkeypatch.setattr(torch.version, "cuda", version)
        monkeypatch.setattr(torch.version, "hip", None, raising=False)
        monkeypatch.setattr(torch, "cuda", cuda)

    return built


DRIVER = "The NVIDIA driver on your system is too old (found version 11040)."
NO_DRIVER = "Found no NVIDIA driver on your system."


@pytest.mark.skipif(sys.platform == "darwin", reason="Macs have another GPU")
def test_what_a_machine_may_lack(built: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built(_Cuda(False), None)
    assert failure(lambda: devices.choose("")).code == "trellis2_torch_cpu"
    backend = Trellis2Backend(Settings())
    request = GenerationRequest.create(tmp_path / "a.png", "trellis2")
    run = JobRun(backend.stages, lambda _: None)
    assert failure(lambda: backend.generate(request, tmp_path, run)).code == "trellis2_torch_cpu"
    built(_Cuda(False, DRIVER))
    assert failure(lambda: devices.choose("")).code == "trellis2_driver"
    built(_Cuda(False, NO_DRIVER))
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    assert failure(lambda: devices.choose("")).code == "trellis2_no_gpu"
    built(_Cuda(True, capability=(7, 5)))
    error = failure(lambda: devices.choose(""))
    assert error.code == "trellis2_architecture"
    assert "7.5" in error.cause
    built(_Cuda(True, capability=(12, 0)))
    assert devices.choose("").kind == "cuda"  # our own kernels need no compiler
    monkeypatch.setattr(devices, "needs_compiler", lambda: True)
    assert failure(lambda: devices.choose("")).code == "trellis2_compiler"
    monkeypatch.setattr(devices, "compiler", lambda: "/usr/bin/gcc")
    assert devices.choose("").kind == "cuda"
    assert failure(lambda: devices.choose("mps")).code == "trellis2_no_gpu"


@pytest.mark.skipif(sys.platform == "darwin", reason="Macs have another GPU")
def test_one_of_several_cards_is_judged_by_itself_and_becomes_the_current_one(built: Callable[..., None]) -> None:
    cuda = _Cuda(True, capability=(7, 5))
    built(cuda)
    assert str(devices.choose("cuda:1").torch) == "cuda:1"
    assert cuda.current == 1
    cuda = _Cuda(True, older=(7, 5))
    built(cuda)
    error = failure(lambda: devices.choose("cuda:1"))
    assert error.code == "trellis2_architecture"
    assert "Card 1" in error.cause
    assert str(devices.choose("").torch) == "cuda"
    assert cuda.current == 0


@pytest.mark.parametrize("name", ["cuda:2", "cuda:", "cuda:one", "gpu", "cuda1"])
def test_a_device_that_is_not_there_is_named(built: Callable[..., None], name: str) -> None:
    built(_Cuda(True))
    error = failure(lambda: devices.choose(name))
    assert error.code == "trellis2_device"
    assert name in error.cause


@pytest.mark.parametrize(
    ("capability", "architectures", "expected"),
    [
        ((8, 6), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80"], False),
        ((9, 0), ["sm_80", "compute_80"], True),
        ((12, 0), ["sm_90a", "compute_90"], True),
        ((12, 0), ["sm_120"], True),
        ((7, 5), ["compute_80"], False),
        ((8, 9), [], False),
    ],
)
def test_which_cards_code_runs_on(capability: tuple[int, int], architectures: list[str], expected: bool) -> None:
    assert devices.is_built_for(*capability, architectures) is expected
