# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on under test is the one that a person would have: zipped, installed into an empty user folder, enabled.

All this happens as this file is imported, before any test imports `bpy`, which reads its user folder once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support import extension

USER_RESOURCES = extension.temporary_user()
ARCHIVE = extension.build_zip()
extension.install(USER_RESOURCES, ARCHIVE)
extension.use(USER_RESOURCES)

import bpy  # noqa: E402

extension.enable()

from PIL import Image, ImageDraw  # noqa: E402  (one of the extension's own wheels)

from tests.support.api_server import ApiServer  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a long session be as long as one likes: make test-blender TESTS="tests/blender/test_long_session.py ..."."""
    parser.addoption("--jobs", type=int, help="how many jobs test_long_session.py runs")


@pytest.fixture(scope="module", autouse=True)
def clean_blender() -> None:
    """Give each test module an empty scene and the enabled add-on; factory settings would disable it."""
    if extension.MODULE not in bpy.context.preferences.addons:
        extension.enable()
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


@pytest.fixture
def empty_scene() -> None:
    """Give a test an empty scene of its own, the add-on staying as it is."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


@pytest.fixture(scope="session")
def addon() -> ModuleType:
    """Return the add-on's top module."""
    return extension.module()


@pytest.fixture(scope="session")
def user_resources() -> Path:
    """Return Blender's user folder of this test run."""
    return USER_RESOURCES


@pytest.fixture(scope="session")
def archive() -> Path:
    """Return the zip that the add-on under test was installed from."""
    return ARCHIVE


class Espalier:
    """The enabled extension as a test sees it."""

    module = staticmethod(extension.module)
    enable = staticmethod(extension.enable)
    disable = staticmethod(extension.disable)

    @staticmethod
    def open_empty_file() -> None:
        """Open a new, empty file, as File > New does."""
        bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


@pytest.fixture
def espalier(empty_scene: None) -> Iterator[Espalier]:
    """Return the extension with an empty scene, no jobs, no library and no error; its workers end with the test."""
    module = extension.module("operators.session")
    module.session.close()
    shutil.rmtree(module.user_folder(), ignore_errors=True)
    module.session = module.Session()
    yield Espalier()
    module = extension.module("operators.session")  # a test may have enabled the extension anew
    module.session.close()


@pytest.fixture
def preferences(espalier: Espalier, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Return the extension's preferences, which are as they were afterwards; what Blenders share lies in `tmp_path`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    for name in ("EMPIRIOLABS_API_KEY", "ESPALIER_API_URL"):
        monkeypatch.delenv(name, raising=False)
    chosen = espalier.module("operators.account").preferences()
    yield chosen
    chosen = espalier.module("operators.account").preferences()  # a test may have enabled the extension anew
    for name in espalier.module("operators.preferences").EspalierPreferences.__annotations__:
        chosen.property_unset(name)


@pytest.fixture
def server(preferences: Any) -> Iterator[ApiServer]:
    """Return a server that the add-on knows; it answers a creation once the asset is made, in 0.3 seconds."""
    with ApiServer("id-and-result", job_s=3.0, scale=10.0) as api:
        preferences.base_url, preferences.api_key = api.url, api.key
        yield api
        assert not api.leaks()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Return an image of a green disc on nothing."""
    path = tmp_path / "green disc.png"
    image = Image.new("RGBA", (256, 256))
    ImageDraw.Draw(image).ellipse((40, 40, 215, 215), fill=(40, 160, 90, 255))
    image.save(path)
    return path


@pytest.fixture
def session(espalier: Espalier) -> ModuleType:
    """Return the module that holds this Blender's one queue."""
    return espalier.module("operators.session")


@pytest.fixture
def asked(espalier: Espalier) -> Callable[..., Any]:
    """Return a function that makes a request."""
    request = espalier.module("engine.request").GenerationRequest
    return lambda name="thing", engine="draft", **values: request.create("/pictures/thing.png", engine, values, name)


@pytest.fixture
def closed(espalier: Espalier, session: ModuleType) -> Any:
    """Return a queue that hands nothing over, so that what waits goes on waiting."""
    queue = espalier.module("engine.jobs.queue").JobQueue
    session.session.queue = queue(session.user_folder(), lambda engine: None, slots={"draft": 0, "trellis2": 0})
    return session.session.queue
