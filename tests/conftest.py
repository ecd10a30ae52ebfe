# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of all tests. Without `bpy` the tests of the add-on are left out; `make test` runs both kinds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import hypothesis
from hypothesis.database import DirectoryBasedExampleDatabase

ROOT = Path(__file__).resolve().parent.parent

collect_ignore = [] if importlib.util.find_spec("bpy") else ["blender"]

hypothesis.settings.register_profile(
    "espalier",
    deadline=None,  # machines that run tests are shared
    database=DirectoryBasedExampleDatabase(ROOT / ".cache" / "hypothesis"),
    print_blob=True,
)
hypothesis.settings.load_profile("espalier")
