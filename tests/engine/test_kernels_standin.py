# SPDX-License-Identifier: GPL-3.0-or-later
"""The portable kernels take the places of missing packages, and of nothing else."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed here; it is in the environment torch-3.11")

from engine.backends.trellis2 import kernels  # noqa: E402
from engine.backends.trellis2.kernels import memory, transforms  # noqa: E402
from tests.engine.kernel_volumes import limited  # noqa: E402

ABSENT = tuple(name for name in kernels.NAMES if importlib.util.find_spec(name) is None)
"""What is not installed here; where torchvision is, nothing may stand in for it."""
ROOT = Path(__file__).resolve().parents[2]
UPSTREAM_IMPORTS = """
import flash_attn, flex_gemm, nvdiffrast.torch as dr, o_voxel, cumesh
from flash_attn import flash_attn_func, flash_attn_qkvpacked_func, flash_attn_kvpacked_func
from flex_gemm.ops.grid_sample import grid_sample_3d
from flex_gemm.ops.spconv import sparse_submanifold_conv3d
from o_voxel.convert import flexible_dual_grid_to_mesh
from o_voxel.postprocess import to_glb
from torchvision import transforms
flex_gemm.ops.spconv.set_algorithm("masked_implicit_gemm_splitk")
flex_gemm.ops.spconv.set_hashmap_ratio(2.0)
o_voxel.io.write, o_voxel.rasterize.VoxelRenderer, o_voxel.serialize.encode_seq, cumesh.remeshing, dr.rasterize
cumesh.CuMesh().init, cumesh.cuBVH, cumesh.Atlas
"""


@pytest.fixture(autouse=True)
def put_back():
    if not {"flex_gemm", "cumesh", "o_voxel"} <= set(ABSENT):
        pytest.skip("the packages that the kernels stand in for are installed here")
    yield
    kernels.remove()


def test_what_upstream_imports_is_there_and_nothing_stays() -> None:
    kernels.remove()  # what a test before has left
    cuda = torch.Tensor.cuda
    before = set(sys.modules)
    put_in = kernels.install()
    assert put_in == kernels.installed() == (*ABSENT, *([] if torch.cuda.is_available() else [kernels.STAYS]))
    assert kernels.missing() == ()
    exec(compile(UPSTREAM_IMPORTS, "upstream", "exec"), {})
    assert kernels.install() == put_in
    kernels.remove()
    assert kernels.installed() == ()
    assert kernels.missing() == ABSENT
    assert not {name for name in set(sys.modules) - before if name.partition(".")[0] in ABSENT}
    assert torch.Tensor.cuda is cuda


def test_only_what_is_asked_for_is_put_in() -> None:
    assert kernels.install(["cumesh", "flex_gemm"])[:2] == ("flex_gemm", "cumesh")
    assert "o_voxel" in kernels.missing()
    with pytest.raises(ValueError, match="no stand-in for numpy"):
        kernels.install(["numpy"])


def test_a_package_that_is_there_is_never_touched(tmp_path, monkeypatch) -> None:
    (tmp_path / "cumesh").mkdir()
    (tmp_path / "cumesh" / "__init__.py").write_text("raise ImportError('broken')", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert "cumesh" not in kernels.install()
    assert "cumesh" not in kernels.missing()
    with pytest.raises(ImportError, match="broken"):
        importlib.import_module("cumesh")


def test_a_name_without_a_kernel_says_so_only_when_it_is_called() -> None:
    kernels.install()
    to_glb = importlib.import_module("o_voxel.postprocess").to_glb
    with pytest.raises(kernels.NotPortable, match=r"o_voxel\.postprocess\.to_glb needs the real package o_voxel"):
        to_glb(texture_size=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a CUDA device here, so nothing needs to stay")
def test_without_cuda_a_tensor_stays_where_it_is() -> None:
    kernels.install()
    tensor, layer = torch.zeros(2), torch.nn.Linear(2, 2)
    assert tensor.cuda() is tensor
    assert tensor.cuda(non_blocking=True) is tensor
    assert layer.cuda().weight.device.type == "cpu"


def test_the_limit_is_taken_and_kept() -> None:
    with limited(memory.DEFAULT_BYTES):
        kernels.install(limit_bytes=12345)
        kernels.install()
        assert memory.limit_bytes() == 12345
    with pytest.raises(ValueError, match="no room"):
        kernels.set_limit_bytes(0)


def test_pieces_cover_all_rows_within_the_limit() -> None:
    with limited(100):
        assert list(memory.pieces(25, 10)) == [slice(0, 10), slice(10, 20), slice(20, 25)]
        assert list(memory.pieces(2, 1000)) == [slice(0, 1), slice(1, 2)]
        assert list(memory.pieces(0, 10)) == []


def test_normalizing_an_image() -> None:
    image = torch.rand((2, 3, 4, 5), generator=torch.manual_seed(1))
    same = image.clone()
    out = transforms.Compose([transforms.Normalize(mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2.0])])(image)
    assert torch.equal(image, same)
    for channel, (mean, std) in enumerate(((0.1, 0.5), (0.2, 0.25), (0.3, 2.0))):
        torch.testing.assert_close(out[:, channel], (image[:, channel] - mean) / std)
    assert transforms.Normalize([0, 0, 0], [1, 1, 2], inplace=True)(image) is image


def test_transformers_takes_none_of_them_for_the_real_thing() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed here")
    code = """
from engine.backends.trellis2 import kernels
kernels.install()
from transformers import DINOv3ViTModel, AutoModelForImageSegmentation
from transformers.utils import is_flash_attn_2_available, is_torchvision_available
assert is_torchvision_available() == ("torchvision" not in kernels.installed())
assert not (is_flash_attn_2_available() and "flash_attn" in kernels.installed())
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("fine\n"), done.stderr


def test_asking_what_is_missing_imports_nothing() -> None:
    code = "import sys; from engine.backends.trellis2 import kernels; kernels.missing(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr
