# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines in child processes: what crosses the pipe, the parent's side of it, and the child's."""
