# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this machine can generate, and if not, what to do: looked at in the engine's own Python, judged here.

Nothing here imports PyTorch at the top: the half that looks is run by another Python, the one that judges by Blender's.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...errors import EspalierError

PACKAGES = (
    *("torch", "torchvision", "transformers", "timm", "safetensors", "trellis2", "o_voxel", "flex_gemm", "cumesh"),
    *("nvdiffrast", "flash_attn", "xformers", "triton", "rembg", "onnxruntime"),
)
"""What is looked for, by the name of its module."""
REQUIRED = ("torch", "safetensors", "trellis2")
FEATURES = "Image features"
PORTABLE = ("o_voxel", "flex_gemm", "cumesh", "nvdiffrast", "flash_attn")
"""What our own kernels, slower, stand in for."""
DISK_LEAST = 5 << 30
"""Bytes that results and finished stages want."""
PATIENCE_S = 120.0

# The folder of `engine` comes first, as in a worker; what a library prints must not get into the answer.
_BOOTSTRAP = """
import json, os, sys
out = os.dup(1)
os.dup2(2, 1)
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
sys.path += [path for path in sys.argv[2:] if path not in sys.path]
from engine.backends.trellis2.doctor import inspect
with os.fdopen(out, "w", encoding="utf-8") as stream:
    json.dump(inspect(), stream)
"""

Verdict = Literal["ok", "note", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was found, and, for a fault, what to do."""

    subject: str
    found: str
    verdict: Verdict = "ok"
    remedy: str = ""


def examine(python: str, paths: tuple[str, ...], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what the Python of the engine's environment finds. Never raises: what went wrong is in `failed`."""
    command = [python, "-I", "-X", "utf8", "-c", _BOOTSTRAP, *paths]
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=dict(environment),
            timeout=PATIENCE_S,
            creationflags=flags,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"it did not answer within {PATIENCE_S:.0f} seconds"}
    except OSError as error:
        return {"failed": f"{python} cannot be started ({error.strerror or error})"}
    try:
        found = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [""])[-1]
        return {"failed": f"it ended with code {done.returncode}: {last}"}
    return found if isinstance(found, dict) else {"failed": "its answer cannot be read"}


def inspect() -> dict[str, Any]:
    """Return facts about this Python and machine as plain JSON data; what cannot be found out is left out."""
    found: dict[str, Any] = {"python": sys.version.split()[0], "executable": sys.executable, "system": sys.platform}
    for name, look in _LOOKS.items():
        try:
            found[name] = look()
        except EspalierError as error:
            found[name] = {"error": error.to_json()}
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}"}
    return found


def _packages() -> dict[str, Any]:
    from importlib import metadata
    from importlib.util import find_spec

    owners = metadata.packages_distributions()
    found: dict[str, Any] = {}
    for name in PACKAGES:
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            found[name] = None
            continue
        versions = [metadata.version(owner) for owner in owners.get(name, ())[:1]]
        where = spec.origin or next(iter(spec.submodule_search_locations or ()), "")
        found[name] = {"version": next(iter(versions), ""), "from": str(Path(where).parent)}
    return found


def driver() -> dict[str, Any] | None:
    """Return what NVIDIA's driver tells of itself and the first GPU, or its `error`; None where there is none.

    Waits for another program, some tenths of a second.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = "driver_version,name,memory.total,memory.free"
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW
    done = subprocess.run(
        [program, f"--query-gpu={query}", "--format=csv,noheader,nounits"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        creationflags=flags,
        check=False,
    )
    if done.returncode != 0 or not done.stdout.strip():
        return {"error": (done.stderr or done.stdout).strip()[:200]}
    version, name, total, free = (part.strip() for part in done.stdout.strip().splitlines()[0].split(","))
    return {"version": version, "gpu": name, "total_mb": int(total), "free_mb": int(free)}


def _torch() -> dict[str, Any]:
    import torch

    found: dict[str, Any] = {"version": torch.__version__, "cuda": torch.version.cuda}
    if torch.cuda.is_available():
        card = _card(torch.cuda.device_count())
        free, total = torch.cuda.mem_get_info(card)
        found |= {
            "gpu": torch.cuda.get_device_name(card),
            "capability": list(torch.cuda.get_device_capability(card)),
            "built_for": torch.cuda.get_arch_list(),
            "free": free,
            "total": total,
        }
    return found


def _card(count: int) -> int:
    """Return the number of the card that is chosen, the first where that is none of the `count` there are."""
    from .settings import Settings

    number = Settings.from_environment().device.partition(":")[2]
    return int(number) if number.isdecimal() and int(number) < count else 0


def _device() -> dict[str, Any]:
    from .device import choose
    from .settings import Settings

    return {"chosen": choose(Settings.from_environment().device).label}


def _compiler() -> str | None:
    from .compilers import compiler

    return compiler()


def _weights() -> dict[str, Any]:
    from . import checkpoint as checkpoints
    from .settings import Settings

    found = checkpoints.look(Settings.from_environment().weights)
    return {"bytes": found.bytes_of(tuple(found.models)), "at": str(found.models["tex_slat_decoder"].weights.parent)}


def _disk() -> dict[str, Any]:
    from .settings import Settings

    place = Settings.from_environment().cache or Path.home()
    while not place.exists() and place != place.parent:
        place = place.parent
    return {"at": str(place), "free": shutil.disk_usage(place).free}


_LOOKS: Mapping[str, Callable[[], Any]] = {
    "packages": _packages,
    "driver": driver,
    "torch": _torch,
    "device": _device,
    "compiler": _compiler,
    "weights": _weights,
    "disk": _disk,
}


def judge(facts: Mapping[str, Any]) -> list[Finding]:
    """Return a line for each thing that was looked at; generation can run if none is a fault."""
    if "failed" in facts:
        remedy = EspalierError("trellis2_not_installed", module="its own Python").remedy
        return [Finding("Python", f"The engine's Python could not be asked: {facts['failed']}.", "fault", remedy)]
    lines = [Finding("System", f"{platform.platform()}, Python {facts.get('python', '?')}")]
    for subject, look in _VERDICTS.items():
        try:
            lines += look(facts)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            lines.append(_of_error(subject, f"the answer lacks {error}"))
    return lines


def _on_packages(facts: Mapping[str, Any]) -> Iterator[Finding]:
    packages = facts["packages"]
    if "error" in packages:
        yield _of_error("Packages", packages["error"])
        return
    for name in PACKAGES:
        found = packages.get(name)
        if found is not None:
            yield Finding(name, f"{found['version'] or 'found'} in {found['from']}")
        elif name in REQUIRED:
            error = EspalierError("trellis2_not_installed", module=name)
            yield Finding(name, "It is not installed.", "fault", error.remedy)
        elif name in PORTABLE:
            yield Finding(
                name, "It is not installed; Espalier's own kernels, which are slower, take its place.", "note"
            )
        else:
            yield Finding(name, "It is not installed.", "note")
    if packages.get("torch") is not None and packages.get("transformers") is None and packages.get("timm") is None:
        error = EspalierError("trellis2_not_installed", module="transformers")
        yield Finding(FEATURES, "Neither transformers nor timm is installed.", "fault", error.remedy)


def is_package_lacking(finding: Finding) -> bool:
    """Tell whether `finding` is that a package which generation needs is not installed."""
    return finding.verdict == "fault" and finding.subject in (*REQUIRED, FEATURES)


def _on_gpu(facts: Mapping[str, Any]) -> Iterator[Finding]:
    driver = facts["driver"]
    if driver is None:
        yield Finding("NVIDIA driver", "There is none, or nvidia-smi was not found.", "note")
    elif "error" in driver:
        yield Finding("NVIDIA driver", f"It does not answer: {driver['error']}", "note")
    else:
        yield Finding("NVIDIA driver", f"{driver['version']}, {driver['gpu']}")
    torch, device = facts["torch"], facts["device"]
    if "error" not in torch:
        yield Finding("PyTorch", f"{torch['version']}, built for CUDA {torch['cuda'] or '(none)'}")
        if "gpu" in torch:
            built = ", ".join(torch["built_for"])
            capability = ".".join(map(str, torch["capability"]))
            yield Finding("GPU", f"{torch['gpu']}, compute capability {capability}; PyTorch is built for {built}")
            free, total = torch["free"] / 1e9, torch["total"] / 1e9
            yield Finding("GPU memory", f"{free:.1f} of {total:.1f} GB free")
    if "error" not in device:
        yield Finding("Device", device["chosen"])
    elif facts["packages"].get("torch") is not None:
        yield _of_error("Device", device["error"])


def _on_compiler(facts: Mapping[str, Any]) -> Iterator[Finding]:
    if facts["system"] != "linux":
        return
    if isinstance(facts["compiler"], str):
        yield Finding("C compiler", facts["compiler"])
        return
    needed = bool(facts["packages"].get("flex_gemm"))
    yield Finding(
        "C compiler", "There is none.", "fault" if needed else "note", EspalierError("trellis2_compiler").remedy
    )


def _on_weights(facts: Mapping[str, Any]) -> Iterator[Finding]:
    weights = facts["weights"]
    if "error" in weights:
        yield _of_error("Weights", weights["error"])
    else:
        yield Finding("Weights", f"{weights['bytes'] / 1e9:.1f} GB in {weights['at']}")


def _on_disk(facts: Mapping[str, Any]) -> Iterator[Finding]:
    disk = facts["disk"]
    words = f"{disk['free'] / 1e9:.1f} GB free at {disk['at']}"
    if disk["free"] >= DISK_LEAST:
        yield Finding("Disk", words)
    else:
        yield Finding("Disk", words, "fault", EspalierError("disk_full", path=disk["at"]).remedy)


_VERDICTS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[Finding]]] = {
    "Packages": _on_packages,
    "GPU": _on_gpu,
    "C compiler": _on_compiler,
    "Weights": _on_weights,
    "Disk": _on_disk,
}


def _of_error(subject: str, error: Any) -> Finding:
    """Return the line of something that could not be looked at."""
    if isinstance(error, Mapping):
        told = EspalierError.from_json(error)
        return Finding(subject, told.cause, "fault", told.remedy)
    remedy = EspalierError("trellis2_torch_cpu", version="").remedy
    return Finding(subject, f"It could not be looked at: {error}", "fault", remedy)
