# SPDX-License-Identifier: GPL-3.0-or-later
"""Small weights in place of the large ones, on a hub of their own, and what is needed to fetch them."""

from __future__ import annotations

import hashlib
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from engine.environments import licences, weights
from engine.environments.order import Act, Order
from engine.environments.places import Places
from engine.environments.sources import Sources
from engine.environments.weights_catalogue import FILES, WeightFile
from tests.support.hub_server import HubServer, Repo

TRELLIS, SMALL, MODEL = "microsoft/TRELLIS.2-4B", "microsoft/TRELLIS-image-large", "isnet-general-use.onnx"
LARGE = "ckpts/flow.safetensors"
REVISION, OTHER = "a" * 40, "b" * 40
NAMES = tuple(item.name for item in licences.LICENCES)


def noise(size: int, seed: int) -> bytes:
    """Return `size` bytes that cannot be compressed."""
    return random.Random(seed).randbytes(size)


def publish(hub: HubServer, large: int = 400_000) -> dict[str, tuple[WeightFile, ...]]:
    """Put small weights onto `hub` and return the catalogue of them."""
    numbers, decoder, model = noise(large, 1), noise(90_000, 2), noise(120_000, 3)
    hub.repos[TRELLIS] = Repo(
        REVISION,
        {"pipeline.json": b'{"name": "pipeline"}', "ckpts/flow.json": b'{"name": "flow"}', LARGE: numbers},
        frozenset({LARGE}),
    )
    hub.repos[SMALL] = Repo(OTHER, {"ckpts/decoder.safetensors": decoder}, frozenset({"ckpts/decoder.safetensors"}))
    hub.releases[MODEL] = model
    files = (
        WeightFile("pipeline.json", None, None, "trellis2", TRELLIS, REVISION),
        WeightFile("ckpts/flow.json", None, None, "trellis2", TRELLIS, REVISION),
        WeightFile(LARGE, len(numbers), hashlib.sha256(numbers).hexdigest(), "trellis2", TRELLIS, REVISION),
        WeightFile(
            "ckpts/decoder.safetensors", len(decoder), hashlib.sha256(decoder).hexdigest(), "dinov3", SMALL, OTHER
        ),
    )
    return {"cpu": (WeightFile(MODEL, len(model), hashlib.sha256(model).hexdigest(), "isnet"),), "cuda": files}


def install(catalogue: dict[str, tuple[WeightFile, ...]], names: tuple[str, ...] = ("cpu", "cuda")) -> None:
    """Make `catalogue` the one of this process, and this Python the environments `names`."""
    FILES.clear()
    FILES.update(catalogue)
    weights.environments = lambda places: {name: Path(sys.executable) for name in names}


@dataclass
class Setup:
    """A place for weights on this machine, and the hub that they come from."""

    hub: HubServer
    root: Path
    token: str = field(default="", repr=False)
    ca_bundle: str = ""
    proxy: str = ""
    moved: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def places(self) -> Places:
        return Places(self.root)

    def sources(self) -> Sources:
        return Sources(hub_url=self.hub.url, hub_token=self.token, ca_bundle=self.ca_bundle, proxy=self.proxy)

    def run(
        self, act: Act = "install", accepted: tuple[str, ...] = NAMES, check: Callable[[], None] = lambda: None
    ) -> list[str]:
        """Carry out `act` in this process, and keep what was reported."""
        os.environ["ESPALIER_REMBG_URL"] = f"{self.hub.store_url}/releases"
        order = Order(act, "weights", accepted)
        return weights.run(order, self.places, self.sources(), lambda *told: self.moved.append(told), check)

    def path(self, repo: str, name: str) -> Path:
        """Return where the file `name` is expected to lie."""
        return self.root / "weights" / repo / name

    def bytes_of(self, repo: str, name: str) -> bytes:
        """Return what was published as the file `name`."""
        return self.hub.releases[name] if repo == "rembg" else self.hub.repos[repo].files[name]
