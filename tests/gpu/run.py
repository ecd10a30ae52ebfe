# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the tests of the CUDA engine on a GPU, in the environment that has its packages, or say what is missing.

    python tests/gpu/run.py [pytest arguments]

GPU_PYTHON names the Python of that environment; by default it is this one's own, or the environment torch-3.11.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOOK = """
from importlib.util import find_spec
wanted = ("pytest", "torch", "safetensors", "transformers", "trellis2", "igl")
lacking = [name for name in wanted if not find_spec(name)]
if lacking:
    print(f"{lacking[0]} is not installed in it")
else:
    import torch
    print("" if torch.cuda.is_available() else "PyTorch sees no GPU here")
"""


def main() -> int:
    """Run pytest, or print one line that begins with SKIPPED."""
    python = os.environ.get("GPU_PYTHON") or sys.executable
    try:
        seen = subprocess.run([python, "-c", LOOK], capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"SKIPPED: {python} cannot be asked what it has ({error}).")
        return 0
    reason = seen.stdout.strip() if seen.returncode == 0 else (seen.stderr.strip().splitlines() or ["it failed"])[-1]
    if reason:
        print(f"SKIPPED: the CUDA engine cannot be tested on a GPU with {python}: {reason}.")
        print("Name the Python of an environment with TRELLIS.2's packages: make test-gpu GPU_PYTHON=python")
        return 0
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", str(ROOT / "tests" / "gpu"), *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
