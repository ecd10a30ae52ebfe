# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that is gone does not take a program with it that, like Blender, leaves SIGPIPE at its default."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import signal, sys, time
from pathlib import Path
from engine.workers.link import Exit, Link
from engine.workers.log import Log

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
closes = "import os, sys, time; os.close(0); print('closed', file=sys.stderr, flush=True); time.sleep(60)"
log = Path(sys.argv[1])
link = Link([sys.executable, "-c", closes], {}, Log(log))
end = time.monotonic() + 60
while not (log.is_file() and b"closed" in log.read_bytes()):
    assert time.monotonic() < end
    time.sleep(0.01)
for _ in range(3):
    link.send(b"order\\n")
link.kill()
while not isinstance(link.receive(), Exit):
    assert time.monotonic() < end
    time.sleep(0.01)
print("alive")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="there is no SIGPIPE on this system")
def test_an_order_to_a_worker_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "worker.log")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr
