# SPDX-License-Identifier: GPL-3.0-or-later
"""A backend for the server's tests: hands out the file ESPALIER_TEST_GLB after the seconds in ESPALIER_TEST_TAKES.

A job whose seed is 666 fails. Each asset that is made to its end adds a line, its seed, to the file ESPALIER_TEST_MADE.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from engine.backends.base import Asset
from engine.errors import EspalierError
from engine.imaging.read import read_image
from engine.progress import Run, Stage
from engine.request import GenerationRequest

FAILS = 666


class Made:
    """Makes what was made before."""

    name, version = "made", "1"
    stages = (Stage("make", "Making", 1),)

    def generate(self, request: GenerationRequest, folder: Path, run: Run) -> Asset:
        """Read the image as an engine does, take the time, and copy the file."""
        with run.stage("make"):
            read_image(request.image)
            if request.parameters["seed"] == FAILS:
                raise EspalierError("image_no_subject", path=request.image)
            began, takes = time.monotonic(), Path(os.environ["ESPALIER_TEST_TAKES"])
            while time.monotonic() < began + float(takes.read_text()):
                run.progress(0.5)
                time.sleep(0.01)
            shutil.copyfile(os.environ["ESPALIER_TEST_GLB"], folder / "made.glb")
        if "ESPALIER_TEST_MADE" in os.environ:
            with open(os.environ["ESPALIER_TEST_MADE"], "a") as file:
                file.write(f"{request.parameters['seed']}\n")
        return Asset(folder / "made.glb")

    def close(self) -> None:
        """Hold nothing."""


def create() -> Made:
    """Return the backend."""
    return Made()
