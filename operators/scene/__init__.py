# SPDX-License-Identifier: GPL-3.0-or-later
"""Data-blocks for finished assets. This package builds and places them; it knows no engine and runs no job."""
