# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar. It draws what is in memory; it starts nothing, reads no file and asks no network."""

import bpy

from . import cutout, environments, jobs, parameters, sidebar

CLASSES = (
    sidebar.ESPALIER_PT_main,
    jobs.ESPALIER_PT_jobs,
    *parameters.PANELS,
    environments.ESPALIER_PT_environments,
    cutout.ESPALIER_PT_mask,
)


def register() -> None:
    """Register the panels in the order in which they are drawn."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    """Remove the panels again, sub-panels before the panel that holds them."""
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
