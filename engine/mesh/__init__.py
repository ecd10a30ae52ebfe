# SPDX-License-Identifier: GPL-3.0-or-later
"""Triangles as NumPy arrays, one verb a file. Everything here is in glTF's frame: right-handed, Y up, metres."""
