# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipeline's models: loaded when a stage first needs them, and moved between the machine's memory and the GPU.

Weights never change, so a model that leaves the GPU goes back to the very tensors it was loaded into: nothing is
copied, and where those are in pinned memory the way in is as fast as the bus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch

from ...errors import EspalierError
from .checkpoint import Checkpoint, ModelFiles, read_json
from .device import Device, host_memory
from .memory import Plan
from .needs import GIB

SPARE_GIB = 6
"""What must be left of the machine's memory for its models to stay in it between stages."""


class Resident:
    """One model with the tensors that it was loaded into. Its own `to` and `cpu`, which upstream calls, are ours."""

    def __init__(self, module: Any, pinned: bool) -> None:
        self.module = module
        self.here = False
        """Whether the weights are on the device."""
        self._pinned = pinned
        self._held = [*module.parameters(), *module.buffers()]
        self._home = [_pin(tensor.data) if pinned else tensor.data for tensor in self._held]
        module.to, module.cpu = self.to, self.leave

    def to(self, device: Any) -> Any:
        """Bring the weights to `device`; return the model."""
        if not self.here:
            self.here = True
            for tensor, home in zip(self._held, self._home, strict=True):
                tensor.data = home.to(device, non_blocking=self._pinned)
        return self.module

    def leave(self) -> Any:
        """Go back to the machine's memory; return the model."""
        self.here = False
        for tensor, home in zip(self._held, self._home, strict=True):
            tensor.data = home
        return self.module


def _pin(tensor: Any) -> Any:
    try:
        return tensor.pin_memory()
    except RuntimeError:  # the system limits how much may be pinned
        return tensor


class Models(Mapping[str, Any]):
    """The models by upstream's names, as its pipeline asks for them; `load_features` loads the image features'."""

    FEATURES = "features"

    def __init__(self, checkpoint: Checkpoint, device: Device, load_features: Callable[[], Any]) -> None:
        self._checkpoint, self._device = checkpoint, device
        self._load_features = load_features
        self._loaded: dict[str, Resident] = {}
        self.features: Any = None

    def __getitem__(self, name: str) -> Any:
        if name not in self._checkpoint.models:
            raise KeyError(name)
        return self._resident(name).module

    def __iter__(self) -> Iterator[str]:
        return iter(self._checkpoint.models)

    def __len__(self) -> int:
        return len(self._checkpoint.models)

    @property
    def on_device(self) -> frozenset[str]:
        """The names of those whose weights are on the GPU."""
        return frozenset(name for name, resident in self._loaded.items() if resident.here)

    @property
    def loaded(self) -> frozenset[str]:
        """The names of those whose weights are in memory at all."""
        return frozenset(self._loaded)

    @contextmanager
    def within(self, names: tuple[str, ...], plan: Plan) -> Iterator[None]:
        """Have the models `names` loaded, and on the GPU if `plan` lets them stay; upstream moves them if not.

        Raises EspalierError `trellis2_weights_unfit`.
        """
        if not plan.stay:
            self._leave()
        try:
            for name in names:
                resident = self._resident(name)
                if plan.stay:
                    resident.to(self._device.torch)
            yield
        finally:
            if not plan.stay:
                self.leave()

    def leave(self) -> None:
        """Take all models off the GPU; where the machine's own memory is short, out of that too."""
        self._leave()
        free, total = host_memory()
        if self._device.kind != "cpu" and total and free < SPARE_GIB * GIB:
            self._loaded.clear()
            self.features = None
        self._device.release()

    def drop(self) -> None:
        """Forget all models."""
        self._leave()
        self._loaded.clear()
        self.features = None
        self._device.release()

    def _leave(self) -> None:
        for resident in self._loaded.values():
            if resident.here:
                resident.leave()

    def _resident(self, name: str) -> Resident:
        if name not in self._loaded:
            pinned = self._device.kind == "cuda"
            if name == self.FEATURES:
                self.features = self._load_features()
                self._loaded[name] = Resident(self.features.model, pinned)
            else:
                self._loaded[name] = Resident(load(self._checkpoint.models[name]), pinned)
        return self._loaded[name]


def load(files: ModelFiles) -> Any:
    """Return the model in `files`, on the CPU, ready for use.

    Raises EspalierError `trellis2_weights_unfit` where its parameters are not exactly those of the installed package:
    upstream itself would go on with random numbers in their place.
    """
    from safetensors.torch import load_file

    described = read_json(files.config)
    models = import_module("trellis2.models")
    try:
        with torch.random.fork_rng(devices=[]), _quick_start():
            module = getattr(models, str(described["name"]))(**described["args"])
    except (KeyError, AttributeError, TypeError) as error:
        reason = f"its description is of another version ({error})"
        raise EspalierError("trellis2_weights_unfit", path=files.config, reason=reason) from error
    try:
        missing, _ = module.load_state_dict(load_file(str(files.weights)), strict=False)
    except RuntimeError as error:
        reason = "a tensor has another shape"
        raise EspalierError("trellis2_weights_unfit", str(error), path=files.weights, reason=reason) from error
    parameters = {name for name, _ in module.named_parameters()}
    if unset := sorted(parameters.intersection(missing)):
        raise EspalierError("trellis2_weights_unfit", path=files.weights, reason=f"{unset[0]} is missing")
    return module.eval().requires_grad_(False)


@contextmanager
def _quick_start() -> Iterator[None]:
    """Leave out the costly random start of weights that are about to be loaded."""
    names = ("normal_", "uniform_", "trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_")
    before = {name: getattr(torch.nn.init, name) for name in names}
    try:
        for name in names:
            setattr(torch.nn.init, name, lambda tensor, *_args, **_options: tensor)
        yield
    finally:
        for name, function in before.items():
            setattr(torch.nn.init, name, function)
