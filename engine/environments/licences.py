# SPDX-License-Identifier: GPL-3.0-or-later
"""The licenses of what is fetched, in our own words and with a link, and which of them a person has accepted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import EspalierError
from ..files import make_folder, replacing
from .places import Places
from .weights_catalogue import FILES

_FILE = "licences.json"


@dataclass(frozen=True, slots=True)
class Licence:
    """One license: `name` is what `--accept` takes, `text` what it says in short, `url` where the whole of it is.

    `covers` is what is fetched under it; `notice` must be shown wherever what it covers is at work.
    """

    name: str
    title: str
    text: str
    url: str
    covers: str
    notice: str = ""

    @property
    def version(self) -> str:
        """What tells one wording from another: who accepted an older one is asked again."""
        return hashlib.sha256("\n".join((self.title, self.text, self.url, self.notice)).encode()).hexdigest()[:12]


LICENCES = (
    Licence(
        "trellis2",
        "TRELLIS.2 (MIT)",
        "You may use, change and share it, also commercially, as long as Microsoft's copyright notice stays with it. "
        "There is no warranty.",
        "https://github.com/microsoft/TRELLIS.2/blob/main/LICENSE",
        "TRELLIS.2-4B, the decoder of TRELLIS-image-large, and the programs that run them",
    ),
    Licence(
        "dinov3",
        "DINOv3 (DINOv3 License)",
        "Meta lets you use it, also commercially, but not for weapons, military purposes, espionage, or anything that "
        "trade controls or the law forbid. Who passes it on, or a product with it, passes on the license and shows "
        '"Built with DINOv3". There is no warranty, and the right ends when the terms are broken.',
        "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
        "DINOv3 ViT-L/16, with which TRELLIS.2 looks at the image",
        "Built with DINOv3",
    ),
    Licence(
        "nvdiffrast",
        "nvdiffrast (NVIDIA Source Code License)",
        "NVIDIA lets you use it for research or evaluation only, not commercially. Do not accept it if you make assets "
        "to earn money with: without it, textures are baked by Espalier itself.",
        "https://github.com/NVlabs/nvdiffrast/blob/main/LICENSE.txt",
        "nvdiffrast, a rasterizer that TRELLIS.2's own texture baking uses",
    ),
    Licence(
        "birefnet",
        "BiRefNet (MIT)",
        "You may use, change and share it, also commercially, as long as its copyright notice stays with it. "
        "There is no warranty.",
        "https://github.com/ZhengPeng7/BiRefNet/blob/main/LICENSE",
        "birefnet-general, which removes backgrounds before TRELLIS.2",
    ),
    Licence(
        "isnet",
        "IS-Net (Apache 2.0)",
        "You may use, change and share it, also commercially, as long as its notices stay with it and changes are "
        "marked. There is no warranty.",
        "https://github.com/xuebinqin/DIS/blob/main/LICENSE.md",
        "isnet-general-use, which removes backgrounds",
    ),
    Licence(
        "u2net",
        "U2-Net (Apache 2.0)",
        "You may use, change and share it, also commercially, as long as its notices stay with it and changes are "
        "marked. There is no warranty.",
        "https://github.com/xuebinqin/U-2-Net/blob/master/LICENSE",
        "u2netp, the small model that removes backgrounds",
    ),
)
_PROGRAMS = {"cuda": ("trellis2", "nvdiffrast")}
"""Environment -> the licenses of its programs that go beyond what the third-party notices tell."""
OPTIONAL = frozenset({"nvdiffrast"})
"""Those without which the rest still works: what they cover is then left out."""


def licence(name: str) -> Licence:
    """Return the license called `name`. Raises EspalierError `license_unknown`."""
    for item in LICENCES:
        if item.name == name:
            return item
    known = ", ".join(item.name for item in LICENCES)
    raise EspalierError("license_unknown", name=name, known=known)


def needed(profile: str, environments: tuple[str, ...] = tuple(FILES)) -> tuple[Licence, ...]:
    """Return the licenses of what `profile` fetches: "cpu", "cuda", or "weights" for the `environments` given."""
    names = set(_PROGRAMS.get(profile, ()))
    if profile == "weights":
        names = {file.license for name in environments for file in FILES.get(name, ())}
    return tuple(item for item in LICENCES if item.name in names)


def accepted(places: Places) -> frozenset[str]:
    """Return the names of the licenses that were accepted in the wording of today."""
    kept = _kept(places)
    return frozenset(
        item.name
        for item in LICENCES
        if isinstance(kept.get(item.name), dict) and kept[item.name].get("version") == item.version
    )


def accept(places: Places, names: Iterable[str]) -> None:
    """Remember that the licenses `names` were accepted, when, and in which wording.

    Raises EspalierError `license_unknown`, `disk_full` or `output_unwritable`.
    """
    chosen = [licence(name) for name in names]
    before = accepted(places)
    if all(item.name in before for item in chosen):
        return
    kept = _kept(places)
    for item in chosen:
        if item.name not in before:
            date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            kept[item.name] = {"version": item.version, "accepted": date, "url": item.url}
    make_folder(places.root)
    with replacing(places.root / _FILE) as partial:
        partial.write_text(json.dumps(kept, indent=1, sort_keys=True), "utf-8")


def require(places: Places, licences: Iterable[Licence]) -> None:
    """See to it that all `licences` but optional ones were accepted. Raises EspalierError `license_not_accepted`."""
    have = accepted(places)
    for item in licences:
        if item.name not in have and item.name not in OPTIONAL:
            raise EspalierError("license_not_accepted", name=item.name, title=item.title, url=item.url)


def _kept(places: Places) -> dict[str, Any]:
    """Return what was accepted so far, in whatever wording; a file that cannot be read tells of nothing."""
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads((places.root / _FILE).read_text("utf-8"))
        if isinstance(kept, dict):
            return kept
    return {}
