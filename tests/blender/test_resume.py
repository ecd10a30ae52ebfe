# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender is killed in the middle of a job; the next Blender takes it up and brings it into the file it belongs to."""

import subprocess
import sys

import bpy
import pytest
from PIL import Image, ImageDraw

from tests.support.extension import pump
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.once


KILLED = """
import os, signal, sys, time
import bpy
from tests.support import extension
extension.enable()
image, blend, state = sys.argv[1:]
bpy.ops.wm.save_as_mainfile(filepath=blend)
session = extension.module("operators.session")
request = extension.module("engine.request").GenerationRequest.create(image, "draft", {"texture_size": "1024"})
session.submit(request, bpy.context)
while session.known_jobs()[0].state != state:
    session.session.queue.step()
    time.sleep(0.005)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("state", ["submitting", "running", "ready"])
def test_a_killed_blenders_job_is_taken_up_by_the_next(espalier, tmp_path, state):
    image, blend = tmp_path / "disc.png", tmp_path / "scene.blend"
    picture = Image.new("RGBA", (256, 256))
    ImageDraw.Draw(picture).ellipse((40, 40, 215, 215), fill=(40, 160, 90, 255))
    picture.save(image)
    command = [sys.executable, "-c", KILLED, str(image), str(blend), state]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert killed.returncode == -9, killed.stderr
    assert blend.exists()

    session = espalier.module("operators.session")
    session._resume()
    job = session.known_jobs()[0].id
    pump(lambda: session.known_jobs()[0].state == "ready")
    for _ in range(3):
        session._tick()
    assert not [o for o in bpy.data.objects if "espalier" in o], "it belongs to another file"

    bpy.ops.wm.open_mainfile(filepath=str(blend))
    pump(lambda: session.known_jobs()[0].state == "imported")
    (made,) = [o for o in bpy.data.objects if "espalier" in o]
    assert made["espalier"]["job"] == job
    assert len(session.known_jobs()) == 1
    assert len(list((session.user_folder() / "library").iterdir())) == 1
