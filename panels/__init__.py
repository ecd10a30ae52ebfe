# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar. It draws what is in memory; it starts nothing, reads no file and asks no network."""

import bpy

from . import (
    cutout,
    environments,
    jobs,
    library,
    parameters,
    placement,
    presets,
    provenance,
    sidebar,
    variations,
)

CLASSES = (
    presets.ESPALIER_PT_presets,
    sidebar.ESPALIER_PT_main,
    jobs.ESPALIER_UL_jobs,
    jobs.ESPALIER_PT_jobs,
    placement.ESPALIER_PT_placement,
    variations.ESPALIER_PT_variations,
    *parameters.PANELS,
    *provenance.PANELS,
    environments.ESPALIER_PT_environments,
    library.ESPALIER_MT_asset,
    cutout.ESPALIER_PT_mask,
)


def register() -> None:
    """Register the panels in the order in which they are drawn."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    library.register()


def unregister() -> None:
    """Remove the panels again, sub-panels before the panel that holds them."""
    library.unregister()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
