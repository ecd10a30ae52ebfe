# SPDX-License-Identifier: GPL-3.0-or-later
"""What all that read or write GLB files here agree on; it needs no NumPy, which takes a worker long to load."""

from __future__ import annotations

GENERATOR = "Espalier"
"""What our files say of their writer."""
JSON_LIMIT = 4 * 2**20
"""Largest JSON chunk in bytes: parsed JSON takes some thirty times its size, and known files hold a few thousand."""
