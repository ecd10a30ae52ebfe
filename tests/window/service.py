# SPDX-License-Identifier: GPL-3.0-or-later
"""The remote engine's server for window scenarios: one of our own on loopback, in a process of its own."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(os.environ["ESPALIER_WINDOW_SCENARIOS"]).parents[1]


class Server:
    """tests/support/api_server.py in a process; `url` and `key` are there once it serves."""

    def __init__(self, *arguments):
        here = Path(__import__("PIL").__file__).parents[1]
        self.url = self.key = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.api_server", "--until-eof", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(here)])},
            stdin=subprocess.PIPE,  # its end, with Blender's, is the server's
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        told = json.loads(self.process.stdout.readline())
        self.key, self.url = told["key"], told["url"]

    def end(self):
        self.process.terminate()
        self.process.wait(10)
