# SPDX-License-Identifier: GPL-3.0-or-later
"""The server as `python -m engine.server` starts it, with a backend of the tests."""

from __future__ import annotations

import json
import os
import sys
from functools import partial

from engine.server import __main__ as command
from tests.server.harness import launched

if __name__ == "__main__":
    launch = launched(json.loads(os.environ.pop("ESPALIER_TEST_LAUNCH")))
    command.Desk = partial(command.Desk, launch=lambda engine: launch)  # type: ignore[assignment, misc]
    sys.exit(command.main())
