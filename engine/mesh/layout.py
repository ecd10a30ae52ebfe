# SPDX-License-Identifier: GPL-3.0-or-later
"""The layout of a folder of prepared arrays, as its writer and its reader know it."""

from __future__ import annotations

from pathlib import Path

VERSION = 1
"""An importer refuses a folder of another version."""
DESCRIPTION = "import.json"
"""The file that describes the others; it is written last."""

LODS = "lods"
"""The folder in a result that holds the levels of detail below the first."""


def level_folder(folder: Path, level: int) -> Path:
    """Return where in a result's `folder` a level of detail lies, with the names of a result; 0 is the asset itself."""
    return folder / LODS / str(level) if level else folder
