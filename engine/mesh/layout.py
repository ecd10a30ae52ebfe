# SPDX-License-Identifier: GPL-3.0-or-later
"""The layout of a folder of prepared arrays, as its writer and its reader know it."""

from __future__ import annotations

VERSION = 1
"""An importer refuses a folder of another version."""
DESCRIPTION = "import.json"
"""The file that describes the others; it is written last."""
