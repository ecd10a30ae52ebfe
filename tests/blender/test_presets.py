# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets in Blender's own system: the ones that are shipped are valid, a person's own are saved, applied, removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import pytest

from tests.support import extension

SHIPPED = {"Preview", "Game Prop", "Hero", "3D Print"}


@pytest.fixture
def presets(espalier: Any) -> Iterator[ModuleType]:
    """Return the module; presets of one's own are gone afterwards."""
    found = extension.module("operators.presets")
    yield found
    folder = Path(bpy.utils.user_resource("SCRIPTS", path=f"presets/{found.SUBFOLDER}"))
    for path in folder.glob("*.py"):
        path.unlink()


def paths(presets: ModuleType) -> dict[str, Path]:
    """Return the presets that Blender finds, by what its menu calls them."""
    folders = bpy.utils.preset_paths(presets.SUBFOLDER)
    return {bpy.path.display_name(path.name): path for folder in folders for path in Path(folder).glob("*.py")}


def values(presets: ModuleType) -> dict[str, Any]:
    settings = bpy.context.scene.espalier
    return {p.name: extension.module("operators.settings").plain_value(settings, p) for p in presets.HELD}


class Recorder:
    """Settings that remember what is set on them."""

    def __init__(self) -> None:
        object.__setattr__(self, "given", {})

    def __setattr__(self, name: str, value: Any) -> None:
        self.given[name] = value


def test_blender_finds_the_shipped_ones(presets: ModuleType) -> None:
    assert set(paths(presets)) == SHIPPED


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_shipped_one_holds_what_the_table_allows_and_says_why(presets: ModuleType, name: str) -> None:
    path = paths(presets)[name]
    request = extension.module("engine.request")
    recorder = Recorder()

    class Context:
        class scene:
            espalier = recorder

    source = path.read_text("utf-8")
    assert source.startswith("# SPDX")
    code = compile(source.replace("import bpy\n", ""), str(path), "exec")
    exec(code, {"bpy": type("Fake", (), {"context": Context})})
    given = recorder.given
    assert given
    assert set(given) <= {p.name for p in presets.HELD}
    parameters = extension.module("engine.parameters")
    names = {p.name for p in parameters.SETTINGS}
    request.complete_parameters({key: value for key, value in given.items() if key in names})
    request.complete_from(
        parameters.REBUILD_SETTINGS,
        {key: value for key, value in given.items() if key in {p.name for p in parameters.REBUILD_SETTINGS}},
    )
    why = presets.reason(str(path))
    assert 20 < len(why) <= 120
    assert not why.endswith(".")
    assert "\n" not in why


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_applying_one_sets_what_it_holds_and_nothing_of_the_one_before(presets: ModuleType, name: str) -> None:
    settings = bpy.context.scene.espalier
    image = settings.image = bpy.data.images.new("mine", 4, 4)
    settings.seed, settings.engine = 123, "draft"
    found = paths(presets)
    assert bpy.ops.espalier.apply_preset(filepath=str(found[name])) == {"FINISHED"}
    alone = values(presets)
    for other in sorted(SHIPPED - {name}):
        bpy.ops.espalier.apply_preset(filepath=str(found[other]))
        assert values(presets) != alone
    settings.shape_slat_guidance_interval_start = settings.shape_slat_guidance_interval_end = 0.3
    settings.lods = "500, 100"
    bpy.ops.espalier.apply_preset(filepath=str(found[name]))
    assert values(presets) == alone
    assert (settings.image, settings.seed, settings.engine, settings.lods) == (image, 123, "draft", "")
    assert settings.pipeline_type == extension.module("engine.parameters").PIPELINE_OF_RESOLUTION[settings.resolution]


def test_what_a_preset_is_for_is_its_tooltip(presets: ModuleType) -> None:
    properties = type("Properties", (), {"filepath": str(paths(presets)["3D Print"])})
    told = presets.ESPALIER_OT_apply_preset.description(bpy.context, properties)
    assert "inner shells" in told
    properties.filepath = "gone.py"
    assert presets.ESPALIER_OT_apply_preset.description(bpy.context, properties).startswith("Set the panel")


def test_saving_applying_and_removing_ones_own(presets: ModuleType, preferences: Any) -> None:
    settings = bpy.context.scene.espalier
    preferences.api_key = "sk-not-for-a-preset"
    settings.image = bpy.data.images.new("secret-picture", 4, 4)
    settings.resolution, settings.tex_slat_guidance_interval_start = "1536", 0.95
    settings.tex_slat_guidance_interval_end, settings.ss_guidance_rescale = 0.97, 0.3
    settings.lods, settings.seed = "8000, 200", 99
    wanted = values(presets)
    assert bpy.ops.espalier.preset_add("EXEC_DEFAULT", name="我的 style") == {"FINISHED"}
    path = next(path for name, path in paths(presets).items() if name.lower() == "我的 style")
    text = path.read_text("utf-8")
    for word in ("sk-not", "secret", "image", "engine", "seed", "key", "path", "url"):
        assert word not in text
    assert "ss_guidance_rescale = 0.3\n" in text
    for name in presets.HELD:
        settings.property_unset(name.name)
    settings.lods = ""
    bpy.ops.espalier.apply_preset(filepath=str(path))
    assert values(presets) == wanted
    assert (settings.lods, settings.seed) == ("8000, 200", 99)
    assert bpy.ops.espalier.preset_add("EXEC_DEFAULT", name="我的 style") == {"CANCELLED"}
    assert bpy.ops.espalier.preset_add("EXEC_DEFAULT", name="我的 style", remove_name=True) == {"FINISHED"}
    assert not path.exists()


def test_shipped_ones_can_neither_be_removed_nor_overwritten(presets: ModuleType) -> None:
    before = paths(presets)
    for options in ({"remove_name": True}, {}):
        assert bpy.ops.espalier.preset_add("EXEC_DEFAULT", name="Hero", **options) == {"CANCELLED"}
    assert paths(presets) == before


def test_a_preset_that_cannot_be_run_changes_nothing(presets: ModuleType, tmp_path: Path) -> None:
    settings = bpy.context.scene.espalier
    settings.resolution, settings.lods = "512", "700"
    before = values(presets)
    broken = tmp_path / "broken.py"
    broken.write_text("settings = bpy.context.scene.espalier\nsettings.resolution = '12'\n")
    assert bpy.ops.espalier.apply_preset(filepath=str(broken)) == {"CANCELLED"}
    assert (values(presets), settings.lods) == (before, "700")


def test_a_folder_that_may_not_be_written_is_told(presets: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, context: Any, filepath: str) -> None:
        raise PermissionError(13, "Permission denied", filepath)

    monkeypatch.setattr(presets.ESPALIER_OT_preset_add, "add", refuse)
    with pytest.raises(RuntimeError, match="cannot be written: permission denied"):
        bpy.ops.espalier.preset_add("EXEC_DEFAULT", name="mine")


def test_disabling_takes_them_away(presets: ModuleType, espalier: Any) -> None:
    espalier.disable()
    try:
        assert not SHIPPED & set(paths(presets))
        assert not hasattr(bpy.types, presets.MENU)
    finally:
        espalier.enable()
    assert set(paths(presets)) >= SHIPPED
