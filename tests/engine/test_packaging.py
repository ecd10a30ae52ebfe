# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest, the locks and the zips: what is inside, that it is the same each time, and what Blender asks of it."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

import engine

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ROOT / "wheels"
MANIFEST = tomllib.loads((ROOT / "blender_manifest.toml").read_text("utf-8"))
BUNDLE = json.loads((WHEELS / "bundle.json").read_text("utf-8"))
CARRIED = json.loads((WHEELS / "carried.json").read_text("utf-8"))
LOCKS = sorted((WHEELS / "requirements").glob("*.txt"))
SERVER = ROOT / "engine" / "server"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

TAGS = {
    *("3D View", "Add Curve", "Add Mesh", "Animation", "Bake", "Camera", "Compositing", "Development"),
    *("Game Engine", "Geometry Nodes", "Grease Pencil", "Import-Export", "Lighting", "Material", "Mesh", "Modeling"),
    *("Node", "Object", "Paint", "Physics", "Pipeline", "Render", "Rigging", "Scene", "Sculpt", "Sequencer", "System"),
    *("Text Editor", "Tracking", "User Interface", "UV"),
}
NETWORK = {"aiohttp", "ftplib", "http", "httpx", "requests", "smtplib", "socket", "ssl", "urllib3", "websockets"}
PACKAGES = {"fast-simplification", "libigl", "pillow", "pyamg", "scipy", "uvunwrap"}
LACKING = {"macos-x64": {"fast-simplification", "libigl", "uvunwrap"}}
"""What the zips carry, and what those for a platform go without."""
BUNDLED = {"PIL", "fast_simplification", "igl", "pyamg", "scipy", "uvunwrap"}
OF_BLENDER = {
    "bpy",
    "bmesh",
    "mathutils",
    "gpu",
    "blf",
    "bl_operators",
    "bl_ui",
    "bpy_extras",
    "addon_utils",
    "numpy",
    "requests",
}
OF_ENVIRONMENTS = {
    *("cumesh", "flex_gemm", "huggingface_hub", "nvdiffrast", "o_voxel", "onnxruntime", "rembg", "safetensors", "timm"),
    *("torch", "torchvision", "transformers", "trellis2", "triton"),
}
"""What only the managed environments have."""
IN_ENVIRONMENTS = ("engine/environments", "engine/imaging/removal.py", "engine/backends/trellis2")
ON_THE_NETWORK = ("engine/network.py", "engine/environments", "engine/backends/remote", "engine/server")
"""Where these may be used, and where the network."""


def build(output: Path, root: Path = ROOT) -> Path:
    command = [sys.executable, root / "wheels" / "build.py", "--python", VERSION, "--output", output]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Path(result.stdout.strip())


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


def test_the_version_is_the_engines() -> None:
    assert MANIFEST["version"] == engine.__version__


def test_the_manifest_follows_the_rules_of_extensions() -> None:
    for field, value in MANIFEST.items():
        assert value not in ("", [], {}), field
    for text in (MANIFEST["tagline"], *MANIFEST["permissions"].values()):
        assert 0 < len(text) <= 64
        assert text[-1].isalnum()
    assert set(MANIFEST["tags"]) <= TAGS
    assert MANIFEST["blender_version_min"] == "4.2.0"
    assert MANIFEST["license"] == ["SPDX:GPL-3.0-or-later"]
    assert "Blender" not in MANIFEST["name"]


def test_the_manifest_lists_the_locked_wheels() -> None:
    files = {item["file"] for versions in BUNDLE.values() for items in versions.values() for item in items}
    assert MANIFEST["wheels"] == [f"./wheels/{file}" for file in sorted(files)]
    assert MANIFEST["platforms"] == sorted(BUNDLE)


def test_each_platform_gets_the_same_packages() -> None:
    for platform, versions in BUNDLE.items():
        for version, items in versions.items():
            names = {str(parse_wheel_filename(item["file"])[0]) for item in items}
            assert names == PACKAGES - set(LACKING.get(platform, ())), (platform, version)
            for item in items:
                assert re.fullmatch("[0-9a-f]{64}", item["sha256"])
                tag = next(iter(parse_wheel_filename(item["file"])[3]))
                oldest = int(tag.interpreter.removeprefix("cp3"))
                minor = int(version.removeprefix("3."))
                assert oldest == minor or (tag.abi == "abi3" and oldest < minor), item["file"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_locks_pin_everything_with_hashes_and_name_no_host(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert "://" not in text
    entries = re.split(r"(?m)^(?=[a-z0-9])", re.sub(r"(?m)^#.*\n", "", text))
    packages = [entry for entry in entries if entry.strip()]
    assert packages
    for entry in packages:
        assert re.match(r"[a-z0-9-]+==\S+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+$", entry), entry


def test_the_environments_have_the_versions_of_the_zips() -> None:
    for version in ("3.11", "3.13"):
        lock = (WHEELS / "requirements" / f"engine-{version}.txt").read_text("utf-8")
        for item in BUNDLE["linux-x64"][version]:
            name, release, *_ = parse_wheel_filename(item["file"])
            assert f"\n{name}=={release} " in lock


def test_the_zip_holds_the_extension_and_nothing_else(archive: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        names = file.namelist()
        manifest = tomllib.loads(file.read("blender_manifest.toml").decode())
    assert "__init__.py" in names
    assert "engine/parameters.py" in names
    assert "LICENSE" in names
    for name in names:
        path = PurePosixPath(name)
        top = path.parts[0]
        assert top in {"__init__.py", "LICENSE", "blender_manifest.toml", "engine", "operators", "panels", "wheels"}, (
            name
        )
        assert path.suffix in {".py", ".json", ".png", ".toml", ".whl"} or name in ("LICENSE", "wheels/NOTICES.md"), (
            name
        )
        assert not any(part.startswith((".", "__pycache__", "test")) for part in path.parts), name
    wheels = {f"./{name}" for name in names if name.endswith(".whl")}
    assert wheels - set(manifest["wheels"]) == {
        f"./wheels/{item['file']}" for item in CARRIED[manifest["platforms"][0]]
    }
    assert set(manifest["wheels"]) < wheels
    assert "build" not in manifest
    assert len(manifest["platforms"]) == 1
    assert manifest["blender_version_min"] == {"3.11": "4.2.0", "3.13": "4.3.0"}[VERSION]
    own = ("wheels", "platforms", "blender_version_min", "build")
    assert {field: manifest[field] for field in manifest if field not in own} == {
        field: MANIFEST[field] for field in MANIFEST if field not in own
    }
    assert archive.stat().st_size < 90e6


def test_the_zip_is_the_same_wherever_and_whenever_it_is_built(archive: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "dist", "out", "tests", "__pycache__", "*.whl"))
    for path in sorted(copy.rglob("*"), reverse=True):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o755 if path.is_dir() else 0o600)
    (copy / "engine" / "__pycache__").mkdir(exist_ok=True)
    (copy / "engine" / "__pycache__" / "stray.py").write_text("")
    (copy / "engine" / ".hidden.py").write_text("")
    (copy / "engine" / "parameters.py~").write_text("")
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "zip")
    for wheel in (tmp_path / "zip" / "wheels").glob("*.whl"):
        (copy / "wheels" / wheel.name).hardlink_to(wheel)
    again = build(tmp_path / "dist", copy)
    assert again.name == archive.name
    assert again.read_bytes() == archive.read_bytes()


def test_a_zip_that_is_too_large_is_not_made(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import build;"
        "build.LARGEST = 1_000_000; build.build(build.this_platform(), sys.argv[2], Path(sys.argv[3]))"
    )
    command = [sys.executable, "-c", script, str(WHEELS), VERSION, str(tmp_path / "dist")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert re.search(r"would have [\d.]+ MB, more than 1\. Leave something out", result.stderr)
    assert not list((tmp_path / "dist").iterdir())


def test_the_zips_wheels_suit_the_numpy_of_each_blender(archive: Path) -> None:
    numpys = {"3.11": ("1.24.3", "1.26.4"), "3.13": ("2.2.4", "2.3.0", "2.5.5")}[VERSION]
    with zipfile.ZipFile(archive) as file:
        manifest = tomllib.loads(file.read("blender_manifest.toml").decode())
        wheels = [name.removeprefix("./") for name in manifest["wheels"]]
        assert len(wheels) == len(PACKAGES)
        for name in wheels:
            with file.open(name) as stream, zipfile.ZipFile(stream) as wheel:
                metadata = next(entry for entry in wheel.namelist() if entry.endswith(".dist-info/METADATA"))
                text = wheel.read(metadata).decode()
            wanted = [Requirement(line) for line in re.findall(r"(?m)^Requires-Dist: (.*)$", text)]
            needed = [item for item in wanted if item.marker is None or item.marker.evaluate({"extra": ""})]
            assert {item.name.lower() for item in needed} <= {"numpy", "scipy"}, name
            for item in needed:
                if item.name.lower() == "numpy":
                    assert all(item.specifier.contains(version) for version in numpys), f"{name}: {item}"


def imports(path: Path) -> set[str]:
    """Return the top-level names of everything that a file imports, relative imports left out."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    names = {alias.name.partition(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {
        node.module.partition(".")[0]
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module
    }


def within(path: Path, places: tuple[str, ...]) -> bool:
    """Tell whether a file is one of `places`, or below one of them."""
    return any(path == ROOT / place or ROOT / place in path.parents for place in places)


def test_the_code_in_the_zip_needs_only_blender_and_the_bundle() -> None:
    known = set(sys.stdlib_module_names) | BUNDLED | OF_BLENDER | {"__future__"}
    for package in ("engine", "operators", "panels"):
        for path in (ROOT / package).rglob("*.py"):
            if SERVER in path.parents:
                continue  # it is in no zip
            allowed = known | OF_ENVIRONMENTS if within(path, IN_ENVIRONMENTS) else known
            assert imports(path) <= allowed, path


def test_the_network_is_for_few_rooms_and_is_permitted() -> None:
    assert MANIFEST["permissions"]["network"]
    for package in ("engine", "operators", "panels"):
        for path in (ROOT / package).rglob("*.py"):
            if not within(path, ON_THE_NETWORK):
                assert not imports(path) & NETWORK, path
                assert "urllib.request" not in path.read_text("utf-8"), path
