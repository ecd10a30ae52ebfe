# SPDX-License-Identifier: GPL-3.0-or-later
"""THE table of weights: which files there are, at which revision, how large, with which hash, under which license."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REMBG_URL = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"
"""Where the models of background removal are released; ESPALIER_REMBG_URL names a mirror of it."""


def rembg_url() -> str:
    """Return the address below which the models of background removal are fetched."""
    return os.environ.get("ESPALIER_REMBG_URL", "").rstrip("/") or REMBG_URL


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file: `path` within the hub's repository `repo` at `revision`, or, without a repo, below REMBG_URL.

    `name` is what it is called here where that differs. `size` (bytes) and `sha256` are None where they are not known
    for sure: such a file is small, and is held against the git hash that the hub states for the pinned revision.
    """

    path: str
    size: int | None
    sha256: str | None
    license: str
    repo: str = ""
    revision: str = ""
    name: str = ""

    @property
    def key(self) -> str:
        """What the file is called in the index and in messages."""
        return f"{self.repo}/{self.path}" if self.repo else f"rembg/{self.name or self.path}"

    @property
    def place(self) -> Path:
        """Where it lies below the folder of weights."""
        return Path(self.key)


def _hub(repo: str, revision: str, license: str, *files: tuple[str, int | None, str | None]) -> tuple[WeightFile, ...]:
    return tuple(WeightFile(path, size, sha256, license, repo, revision) for path, size, sha256 in files)


def _network(name: str, size: int, sha256: str) -> tuple[tuple[str, int | None, str | None], ...]:
    """Return the two files of a network of TRELLIS: its shape, whose hash is not known for sure, and its numbers."""
    return (f"ckpts/{name}.json", None, None), (f"ckpts/{name}.safetensors", size, sha256)


TRELLIS2 = (
    *_hub(
        "microsoft/TRELLIS.2-4B",
        "af44b45f2e35a493886929c6d786e563ec68364d",
        "trellis2",
        ("pipeline.json", None, None),
        *_network(
            "ss_flow_img_dit_1_3B_64_bf16",
            2_584_426_920,
            "ca01377c485bec418076d38ee80166d32dc776d744f2553b835cba1e97a7abf6",
        ),
        *_network(
            "slat_flow_img2shape_dit_1_3B_512_bf16",
            2_584_574_424,
            "ec5e0917ef9b7e25ad51dffc7d19687a42019871f94239f2fa7f86264c55b70f",
        ),
        *_network(
            "slat_flow_img2shape_dit_1_3B_1024_bf16",
            2_584_574_424,
            "07cd0596f634c5adc1890023d16023afc5eed02fb84b22bb23aff5bf0030fbbd",
        ),
        *_network(
            "slat_flow_imgshape2tex_dit_1_3B_512_bf16",
            2_584_672_728,
            "8371aa1c5d13be79dcd5ddfd2cf3835e902e204dc34427169a1c702828e1a94d",
        ),
        *_network(
            "slat_flow_imgshape2tex_dit_1_3B_1024_bf16",
            2_584_672_728,
            "580401269059a339b8318ab9ced459a13ba63391721c83a6c383198c29e77686",
        ),
        *_network(
            "shape_dec_next_dc_f16c32_fp16",
            948_490_494,
            "e3b718d3e43e4f8780e9a24ac6fff231811a67e3b058e336e10fe654c911d581",
        ),
        *_network(
            "tex_dec_next_dc_f16c32_fp16",
            948_458_812,
            "97ea69addea2ecd9312910f5f548234665eef51c088386180b7cd5b258645e3c",
        ),
    ),
    *_hub(
        "microsoft/TRELLIS-image-large",
        "25e0d31ffbebe4b5a97464dd851910efc3002d96",
        "trellis2",
        *_network(
            "ss_dec_conv3d_16l8_fp16",
            147_591_972,
            "1c76d4a40519aa2d711cc263a8404105231ac26db31d946bed48b84fee79009a",
        ),
    ),
    *_hub(
        "timm/vit_large_patch16_dinov3.lvd1689m",
        "30c1109559f65dea34316b0d4842d35c5771fe11",
        "dinov3",
        ("config.json", None, None),
        ("model.safetensors", 1_212_347_640, "45172f209c9583c40538afc26b60a07033e6fcc2e8c30228338e6b2e932e7941"),
    ),
)
"""What TRELLIS.2 needs to turn an image into an asset; the encoders of its repository are for training only."""

BIREFNET = WeightFile(
    "BiRefNet-general-epoch_244.onnx",
    972_666_916,
    "58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c",
    "birefnet",
    name="birefnet-general.onnx",
)
ISNET = WeightFile(
    "isnet-general-use.onnx",
    178_648_008,
    "60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
    "isnet",
)
U2NETP = WeightFile(
    "u2netp.onnx",
    4_574_861,
    "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
    "u2net",
)

FILES: dict[str, tuple[WeightFile, ...]] = {
    "cpu": (U2NETP, ISNET),
    "cuda": (*TRELLIS2, BIREFNET),
}
"""Environment -> the weights that its engines use, the small ones first."""


def wanted(profiles: tuple[str, ...]) -> tuple[WeightFile, ...]:
    """Return the files that the environments `profiles` need, each once."""
    return tuple(dict.fromkeys(file for profile in FILES if profile in profiles for file in FILES[profile]))
