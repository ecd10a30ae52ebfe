# SPDX-License-Identifier: GPL-3.0-or-later
"""Real wheels of a few kilobytes that stand for those of a profile, the lock that lists them, and uv's own wheel."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
import random
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.environments.platforms import this_platform, this_python
from engine.environments.profiles import PROFILES
from engine.environments.wheel import parse_wheel

ROOT = Path(__file__).resolve().parents[2]
EXPLICIT = ("flex-gemm", "cumesh", "o-voxel", "nvdiffrast", "trellis2")
"""The packages that never come from the default registry."""
_DATE = (1980, 1, 1, 0, 0, 0)


def tiny_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    modules: Mapping[str, str] | None = None,
    tag: str = "py3-none-any",
    payload: int = 3000,
) -> Path:
    """Write a wheel of `name` with `modules` (path -> source) and a file of `payload` random bytes; return its path."""
    escaped = name.replace("-", "_")
    info = f"{escaped}-{version}.dist-info"
    sources = modules if modules is not None else {f"{escaped}/__init__.py": f"VERSION = {version!r}\n"}
    files = {path: text.encode() for path, text in sources.items()}
    files[f"{escaped}_data.bin"] = random.Random(f"{name} {version}").randbytes(payload)
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    return pack(folder / f"{escaped}-{version}-{tag}.whl", files, f"{info}/RECORD")


def pack(path: Path, files: Mapping[str, bytes], record: str, executable: Iterable[str] = ()) -> Path:
    """Write `files` and the list of them called `record` as a wheel, the same bytes for the same files."""
    lines = "".join(f"{name},{_hash(data)},{len(data)}\n" for name, data in files.items()) + f"{record},,\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {**files, record: lines.encode()}.items():
            item = zipfile.ZipInfo(name, _DATE)
            item.external_attr = (0o755 if name in executable else 0o644) << 16
            archive.writestr(item, data)
    path.write_bytes(buffer.getvalue())
    return path


def profile_wheels(folder: Path, profile: str, version: str = "1.0", payload: int = 3000) -> dict[str, Path]:
    """Write a wheel of each package that `profile` tries after it was made; return them by name."""
    described = PROFILES[profile]
    wheels = {}
    for name, module in {**described.loaded, **described.found}.items():
        parts = module.split(".")
        modules = {f"{'/'.join(parts[: n + 1])}/__init__.py": f"VERSION = {version!r}\n" for n in range(len(parts))}
        wheels[name] = tiny_wheel(folder, name, version, modules, payload=payload)
    return wheels


def entry(name: str, wheel: Path | None, source: str = "registry", version: str = "1.0", **more: Any) -> dict[str, Any]:
    """Return a package of a lock; without a wheel, one that is not locked yet."""
    if wheel is None:
        return {"name": name, "version": version, "source": source, "file": None, "sha256": None, "size": None, **more}
    data = wheel.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return {
        "name": name,
        "version": parse_wheel(wheel.name).version,
        "source": source,
        "file": wheel.name,
        "sha256": digest,
        "size": len(data),
        **more,
    }


def write_lock(
    folder: Path, profile: str, packages: list[dict[str, Any]], python: str = "", platform: str = ""
) -> Path:
    """Write a lock for this Python and this platform into `folder`; return its path."""
    python, platform = python or this_python(), platform or this_platform()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{profile}-{python}-{platform}.json"
    path.write_text(json.dumps({"profile": profile, "python": python, "platform": platform, "packages": packages}))
    return path


@functools.cache
def uv_folder() -> Path | None:
    """Return a folder with uv's wheel for this machine: the one that is carried, or packed of the uv in this Python.

    None where there is neither.
    """
    for path in sorted((ROOT / "wheels").glob("uv-*.whl")):
        name = parse_wheel(path.name)
        if name is not None and name.runs_on(this_platform()):
            return path.parent
    try:
        uv = metadata.distribution("uv")
    except metadata.PackageNotFoundError:
        return None
    info = f"uv-{uv.version}.dist-info"
    files = {}
    for file in uv.files or ():
        data = Path(str(uv.locate_file(file)))
        if file.name in ("uv", "uv.exe"):
            files[f"uv-{uv.version}.data/scripts/{file.name}"] = data.read_bytes()
        elif file.parent.name == info and file.name in ("METADATA", "WHEEL"):
            files[f"{info}/{file.name}"] = data.read_bytes()
    tag = next(line.split(": ")[1] for line in files[f"{info}/WHEEL"].decode().splitlines() if line.startswith("Tag"))
    folder = Path(_kept().name)
    pack(folder / f"uv-{uv.version}-{tag}.whl", files, f"{info}/RECORD", [name for name in files if "scripts" in name])
    return folder


@functools.cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that goes with this process."""
    return tempfile.TemporaryDirectory(prefix="uv-wheel-", ignore_cleanup_errors=sys.platform == "win32")


def _hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
