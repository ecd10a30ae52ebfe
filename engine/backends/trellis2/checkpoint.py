# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkpoint on the disk: which files it has, where they lie, and whether they are whole, before anything loads."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...errors import EspalierError
from ...files import digest_of

TRELLIS2 = "microsoft/TRELLIS.2-4B"
DINOV3 = "timm/vit_large_patch16_dinov3.lvd1689m"
REVISIONS: Final[Mapping[str, str]] = {TRELLIS2: "af44b45f2e35a493886929c6d786e563ec68364d"}
"""Repository -> the revision that is pinned; of all others the newest snapshot on the disk is taken."""

STAGE_MODELS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "512": {
        "sparse_structure": ("sparse_structure_flow_model", "sparse_structure_decoder"),
        "shape": ("shape_slat_flow_model_512",),
        "decode_shape": ("shape_slat_decoder",),
        "texture": ("tex_slat_flow_model_512",),
        "decode_texture": ("tex_slat_decoder",),
    },
    "1024_cascade": {
        "sparse_structure": ("sparse_structure_flow_model", "sparse_structure_decoder"),
        "shape": ("shape_slat_flow_model_512", "shape_slat_decoder", "shape_slat_flow_model_1024"),
        "decode_shape": ("shape_slat_decoder",),
        "texture": ("tex_slat_flow_model_1024",),
        "decode_texture": ("tex_slat_decoder",),
    },
}
"""Pipeline type -> stage -> the models that it runs; `1536_cascade` runs those of `1024_cascade`."""

_SUMS = "SHA256SUMS"
_INDEX = "weights.json"
"""In the folder of weights: where each file lies and its SHA-256, as whoever fetched them found them."""
_HASH = re.compile(r"[0-9a-f]{64}")
_HEADER_MOST = 100 << 20


def stage_models(pipeline_type: str) -> Mapping[str, tuple[str, ...]]:
    """Return the models of each stage of `pipeline_type`."""
    return STAGE_MODELS["512" if pipeline_type == "512" else "1024_cascade"]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """One model of the pipeline: its description and its weights."""

    name: str
    config: Path
    weights: Path

    @property
    def identity(self) -> str:
        """What tells this file from another of the same name: its SHA-256 where that is known, else size and date."""
        found = self.weights.stat()
        return known_hash(self.weights) or f"{found.st_size}-{found.st_mtime_ns}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What `pipeline.json` says (`args`), the files of each model, and those of the image features' model.

    `sums` are the SHA-256 that files must have, as far as an index of the weights tells.
    """

    args: Mapping[str, Any]
    models: Mapping[str, ModelFiles]
    features: ModelFiles
    sums: Mapping[Path, str]

    def bytes_of(self, names: tuple[str, ...]) -> int:
        """Return how many bytes the weights of some models take."""
        return sum(self.models[name].weights.stat().st_size for name in names)


def places(root: Path | None) -> tuple[Path, ...]:
    """Return the folders to look in: `root`, the caches of Hugging Face in it, and that of the person."""
    found = [] if root is None else [root, root / "hub", root / "huggingface" / "hub"]
    home = os.environ.get("HF_HOME")
    cache = os.environ.get("HF_HUB_CACHE")
    found.append(Path(cache) if cache else (Path(home) if home else Path.home() / ".cache" / "huggingface") / "hub")
    return tuple(found)


def find_repository(name: str, folders: tuple[Path, ...]) -> Path | None:
    """Return the folder with the files of the Hugging Face repository `name`, or None where there is none."""
    owner, _, short = name.partition("/")
    for folder in folders:
        for plain in (folder / owner / short, folder / short, folder / f"{owner}--{short}"):
            if plain.is_dir():
                return plain
        snapshots = folder / f"models--{owner}--{short}" / "snapshots"
        pinned = REVISIONS.get(name)
        if pinned is not None and (snapshots / pinned).is_dir():
            return snapshots / pinned
        if pinned is None and snapshots.is_dir():
            every = sorted((one for one in snapshots.iterdir() if one.is_dir()), key=lambda one: one.stat().st_mtime)
            if every:
                return every[-1]
    return None


def read(root: Path | None) -> Checkpoint:
    """Return the checkpoint below `root`, or in the person's cache of Hugging Face.

    Raises EspalierError `trellis2_weights_none`, `trellis2_weights_missing` or `trellis2_weights_damaged`.
    """
    store = _Store(root)
    pipeline = store.file(TRELLIS2, "pipeline.json")
    features = [store.file(DINOV3, name) for name in ("config.json", "model.safetensors")]
    for name, path in ((TRELLIS2, pipeline), (DINOV3, features[1])):
        if path is None:
            raise EspalierError("trellis2_weights_none", f"looked in {store.folders}", model=name)
    assert pipeline is not None
    args = read_json(pipeline).get("args")
    if not isinstance(args, dict) or not isinstance(args.get("models"), dict):
        raise EspalierError("trellis2_weights_damaged", path=pipeline, reason="it names no models")
    wanted = {name for kind in STAGE_MODELS.values() for names in kind.values() for name in names}
    models = {}
    for name in sorted(wanted & args["models"].keys()):
        models[name] = ModelFiles(name, *(store.part(args["models"][name] + end) for end in (".json", ".safetensors")))
    if lacking := sorted(wanted - models.keys()):
        reason = f"it does not name {lacking[0]}"
        raise EspalierError("trellis2_weights_damaged", path=pipeline, reason=reason)
    config, weights = features
    assert weights is not None
    return Checkpoint(args, models, ModelFiles("features", config or weights, weights), store.sums)


def look(root: Path | None) -> Checkpoint:
    """Return the checkpoint as `read` does, once each of its files is seen to be there and as long as it should be.

    Raises as `read` and `check_layout`.
    """
    found = read(root)
    for files in [*found.models.values(), found.features]:
        read_json(files.config)
        check_layout(files.weights)
    return found


class _Store:
    """Where files of repositories lie: what the index of the weights says, else the folders of whole repositories."""

    def __init__(self, root: Path | None) -> None:
        self.folders = places(root)
        self.sums: dict[Path, str] = {}
        self._listed: dict[str, Path] = {}
        if root is None:
            return
        for key, entry in _recall(root / _INDEX).items():
            if isinstance(entry, dict) and isinstance(entry.get("path"), str):
                path = root / entry["path"]  # an absolute path, of a cache, stays itself
                self._listed[key] = path
                if _HASH.fullmatch(str(entry.get("sha256"))):
                    self.sums[path] = str(entry["sha256"])

    def file(self, repository: str, path: str) -> Path | None:
        """Return where a file lies or should lie, or None where nothing of its repository is there."""
        if (listed := self._listed.get(f"{repository}/{path}")) is not None:
            return listed
        folder = find_repository(repository, self.folders)
        return None if folder is None else folder / path

    def part(self, path: str) -> Path:
        """Return where a file of the pipeline lies: in its own repository, or the one that its first parts name."""
        own = self.file(TRELLIS2, path)
        assert own is not None
        if own.exists() or path.count("/") < 3:
            return own
        owner, short, rest = path.split("/", 2)
        return self.file(f"{owner}/{short}", rest) or own


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in `path`. Raises EspalierError `trellis2_weights_missing` or `trellis2_weights_damaged`."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise EspalierError("trellis2_weights_missing", path=path) from None
    except (OSError, ValueError) as error:
        raise EspalierError("trellis2_weights_damaged", path=path, reason=str(error)) from None
    if not isinstance(data, dict):
        raise EspalierError("trellis2_weights_damaged", path=path, reason="it is not a JSON object")
    return data


def check(
    checkpoint: Checkpoint, names: tuple[str, ...], remembered: Path | None, tell: Callable[[float], None]
) -> None:
    """See that the files of the models `names`, and of the image features, are all there and whole.

    Hashing is done once a file: that it was found good is kept in `remembered`. `tell` hears the fraction, and may
    raise.
    Raises EspalierError `trellis2_weights_missing` or `trellis2_weights_damaged`.
    """
    files = [checkpoint.models[name] for name in names]
    for one in [*files, checkpoint.features]:
        read_json(one.config)
    weights = [one.weights for one in [*files, checkpoint.features]]
    for path in weights:
        check_layout(path)
    good = _recall(remembered)
    sizes = [path.stat().st_size for path in weights]
    done, total = 0, max(sum(sizes), 1)
    for path, size in zip(weights, sizes, strict=True):
        expected, mark = checkpoint.sums.get(path) or known_hash(path), _mark(path)
        if expected is not None and good.get(str(path)) != [expected, mark]:
            start = done
            found = digest_of(path, lambda count, start=start: tell((start + count) / total))  # type: ignore[misc]
            if found != expected:
                raise EspalierError(
                    "trellis2_weights_damaged", path=path, reason="its SHA-256 is not the published one"
                )
            good[str(path)] = [expected, mark]
        done += size
        tell(done / total)
    _remember(remembered, good)


def check_layout(path: Path) -> None:
    """See that the safetensors file `path` is as long as its own header says.

    Raises EspalierError `trellis2_weights_missing` or `trellis2_weights_damaged`.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(size - 8, _HEADER_MOST):
                raise EspalierError("trellis2_weights_damaged", path=path, reason="it has no header")
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except FileNotFoundError:
        raise EspalierError("trellis2_weights_missing", path=path) from None
    except OSError as error:
        raise EspalierError("trellis2_weights_damaged", path=path, reason=error.strerror or str(error)) from None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        raise EspalierError("trellis2_weights_damaged", path=path, reason="its header cannot be read") from None
    if size != expected:
        raise EspalierError("trellis2_weights_damaged", path=path, reason=f"it has {size:,} of {expected:,} bytes")


def known_hash(path: Path) -> str | None:
    """Return the SHA-256 that `path` must have: its blob's name in a Hugging Face cache, or what SHA256SUMS says."""
    blob = path.resolve()
    if blob.parent.name == "blobs" and _HASH.fullmatch(blob.name):
        return blob.name
    for folder in path.parents[:3]:
        sums = folder / _SUMS
        if sums.is_file():
            for line in sums.read_text("utf-8").splitlines():
                digest, _, name = line.partition(" ")
                if _HASH.fullmatch(digest) and folder / name.strip().lstrip("*") == path:
                    return digest
    return None


def _mark(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size}-{found.st_mtime_ns}"


def _recall(path: Path | None) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8")) if path is not None else {}
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _remember(path: Path | None, good: Mapping[str, Any]) -> None:
    if path is None or _recall(path) == good:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(json.dumps(good), "utf-8")
        os.replace(partial, path)
    except OSError:
        pass  # the files are hashed again next time
