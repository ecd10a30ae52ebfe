# SPDX-License-Identifier: GPL-3.0-or-later
"""What an object says of how it was made: in the panel, back in the settings, and in files that are exported."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.support import extension
from tests.support.shelf import put

SMALL = {"resolution": "512", "texture_size": "1024", "decimation_target": 20000}


def generated(picture: Path, **values: Any) -> bpy.types.Object:
    """Return the object that the draft engine makes of `picture`."""
    bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(picture), **{**SMALL, **values})
    return bpy.context.view_layer.objects.active


def placed(**values: Any) -> bpy.types.Object:
    """Return the object of a result that is in the library."""
    folder = put("20260203-a", **values)
    job = extension.module("operators.scene.asset_file").read_job(folder)
    made: bpy.types.Object = extension.module("operators.scene.asset").place_asset(bpy.context, job, bpy.context.scene)
    return made


def facts(account: dict[str, Any]) -> dict[str, str]:
    return dict(extension.module("panels.provenance").facts(account))


def properties(target: bpy.types.Object) -> dict[str, Any]:
    found: dict[str, Any] = extension.module("operators.scene.placement").read_properties(target)
    return found


def document(path: Path) -> dict[str, Any]:
    """Return the JSON of a GLB."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    found: dict[str, Any] = json.loads(data[20 : 20 + length])
    return found


def test_the_panel_tells_what_differs_from_the_default(espalier: Any) -> None:
    target = placed(resolution="512", decimation_target=20000, preprocess_image=False, ss_guidance_strength=3.25)
    assert facts(properties(target)) == {
        "Image": "椅子 chair.png",
        "Engine": "Draft",
        "Seed": "7",
        "Resolution": "512",
        "Prepare Image": "Off",
        "Texture Size": "1024",
        "Target Faces": "20,000",
        "Made": "2026-02-03 04:05 UTC",
    }


def test_the_panel_tells_cost_and_model_of_a_paid_one(espalier: Any) -> None:
    told = facts(properties(placed(engine="remote", ss_guidance_strength=3.25)))
    assert (told["Engine"], told["Model"], told["Cost"]) == ("Remote API", "trellis-2-4b", "0.025 USD")
    assert told["Guidance"] == "3.25"


def test_of_a_rebuilt_one_it_tells_both(espalier: Any, picture: Path) -> None:
    target = generated(picture, seed=11)
    image = properties(target)["image"]
    bpy.ops.espalier.rebuild("EXEC_DEFAULT", remesh=False, normal_map="off", decimation_target=900, texture_size="1024")
    account = properties(target)
    assert account["engine"] == "rebuild"
    assert account["origin"]["image"] == image
    told = facts(account)
    assert (told["Image"], told["Engine"], told["Seed"], told["Remesh"]) == ("green disc.png", "Draft", "11", "Off")
    assert told["Target Faces"] == "900"
    assert "Rebuilt" in told
    settings = bpy.context.scene.espalier
    settings.seed, settings.image = 1, None
    assert bpy.ops.espalier.use_settings() == {"FINISHED"}
    assert (settings.seed, settings.resolution, settings.normal_map) == (11, "512", "off")
    assert settings.decimation_target == 10000  # the panel's least
    assert not settings.remesh
    assert Path(settings.image.filepath) == picture


def test_copying_sets_the_whole_panel(espalier: Any) -> None:
    target = placed(seed=11, ss_guidance_interval_start=0.2, ss_guidance_interval_end=0.4)
    settings = bpy.context.scene.espalier
    settings.lods = "500"
    assert bpy.ops.espalier.use_settings() == {"FINISHED"}
    assert settings.values() == pytest.approx({name: properties(target)[name] for name in settings.values()})
    assert settings.engine == "draft"
    assert settings.image.name == "椅子 chair.png"
    count = len(bpy.data.images)
    bpy.ops.espalier.use_settings()
    assert len(bpy.data.images) == count


def test_copying_where_the_image_is_gone_takes_the_librarys_copy(espalier: Any) -> None:
    target = placed()
    target["espalier"]["image"] = "/gone/green disc.png"
    bpy.ops.espalier.use_settings()
    kept = Path(bpy.context.scene.espalier.image.filepath)
    assert kept.name == "椅子 chair.png"
    assert extension.module("operators.library").folder() in kept.parents


def test_copying_from_an_asset_of_another_version(espalier: Any) -> None:
    """Names that are gone are left out, and values that would be refused are told."""
    old = bpy.data.objects.new("Old", None)
    old["espalier"] = {"job": "gone", "engine": "future", "image": "/no/where.png", "seed": 5, "warp": 3}
    bpy.context.scene.collection.objects.link(old)
    bpy.context.view_layer.objects.active = old
    settings = bpy.context.scene.espalier
    settings.engine = "draft"
    assert bpy.ops.espalier.use_settings() == {"FINISHED"}
    assert (settings.seed, settings.engine, settings.image) == (5, "draft", None)
    old["espalier"] = {"job": "gone", "engine": "draft", "image": "", "seed": -1}
    with pytest.raises(RuntimeError, match="cannot be read"):
        bpy.ops.espalier.use_settings()
    assert facts(properties(old)) == {"Engine": "Draft", "Seed": "-1"}


def test_what_espalier_writes_says_so_inside(espalier: Any, picture: Path) -> None:
    target = generated(picture, seed=11)
    folder = extension.module("operators.library").folder() / properties(target)["job"]
    extras = document(folder / "asset.glb")["asset"]["extras"]["espalier"]
    assert (extras["image"], extras["engine"], extras["seed"]) == ("green disc.png", "draft", 11)
    assert extras["made"] == properties(target)["made"]
    assert str(picture.parent) not in json.dumps(extras)


def test_blenders_exporter_takes_it_along_with_custom_properties(espalier: Any, tmp_path: Path) -> None:
    target = placed(seed=11)
    bpy.ops.export_scene.gltf(filepath=str(tmp_path / "a.glb"), use_selection=True, export_extras=True)
    (node,) = document(tmp_path / "a.glb")["nodes"]
    assert node["extras"]["espalier"]["seed"] == 11
    assert node["extras"]["espalier"]["engine"] == "draft"
    assert node["extras"]["espalier"]["made"] == properties(target)["made"]
    bpy.ops.export_scene.gltf(filepath=str(tmp_path / "b.glb"), use_selection=True)
    (node,) = document(tmp_path / "b.glb")["nodes"]
    assert "extras" not in node
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "a.glb"))
    again = bpy.context.view_layer.objects.active
    assert properties(again)["seed"] == 11


def test_the_panels_touch_no_file(espalier: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thousand assets drawing takes what it takes with one: it asks the object alone."""
    target = placed()
    account = properties(target)
    library = extension.module("operators.library")
    for number in range(1000):
        (library.folder() / f"job{number}").mkdir()
    panel = extension.module("panels.provenance").ESPALIER_PT_made_with

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a file was looked at")

    for name in ("stat", "open", "iterdir", "is_file", "is_dir", "exists", "read_bytes", "glob"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("os.scandir", refuse)
    monkeypatch.setattr("os.stat", refuse)
    assert panel.poll(bpy.context)
    assert len(facts(account)) > 3
    assert extension.module("operators.library_operators").job_at_hand(bpy.context) == account["job"]
    for name in ("use_settings", "regenerate", "reveal", "measure_library"):
        assert getattr(bpy.ops.espalier, name).poll()
