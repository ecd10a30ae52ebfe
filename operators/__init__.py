# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person can do: settings, operators, the command line, and the session that runs their jobs."""

import bpy

from . import (
    checking,
    clipboard,
    command,
    cutout,
    cutout_settings,
    drop,
    editor_menus,
    environments,
    forecast,
    former,
    generate,
    image,
    import_asset,
    installing,
    jobs,
    key,
    languages,
    library,
    library_operators,
    library_use,
    mask,
    picking,
    placement_settings,
    preferences,
    presets,
    queue_list,
    rebuild,
    session,
    settings,
    stages,
    status_bar,
    thumbnails,
    variations,
)

CLASSES = (
    placement_settings.EspalierPlacement,
    preferences.EspalierPreferences,
    cutout_settings.EspalierCutout,
    settings.EspalierSettings,
    image.ESPALIER_OT_randomize_seed,
    generate.ESPALIER_OT_generate,
    import_asset.ESPALIER_OT_import_asset,
    rebuild.ESPALIER_OT_rebuild,
    *queue_list.CLASSES,
    former.ESPALIER_OT_revert,
    picking.ESPALIER_OT_pick_place,
    *variations.OPERATORS,
    *jobs.OPERATORS,
    checking.ESPALIER_OT_check_usage,
    key.ESPALIER_OT_test_key,
    *clipboard.OPERATORS,
    *drop.OPERATORS,
    *drop.HANDLERS,
    *editor_menus.OPERATORS,
    *mask.OPERATORS,
    *installing.OPERATORS,
    *stages.OPERATORS,
    *library_operators.OPERATORS,
    *presets.OPERATORS,
)


def register() -> None:
    """Register the classes, the scene's settings, the session and the command line."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.espalier = bpy.props.PointerProperty(type=settings.EspalierSettings)
    languages.register(CLASSES)
    session.register()
    queue_list.register()
    status_bar.register()
    cutout.register()
    mask.register()
    editor_menus.register()
    environments.register()
    forecast.register()
    library.register()
    presets.register()
    command.register()


def unregister() -> None:
    """Undo `register` in reverse; running jobs stop and stay in the ledger."""
    command.unregister()
    presets.unregister()
    library_use.unregister()
    library.unregister()
    forecast.unregister()
    environments.unregister()
    editor_menus.unregister()
    mask.unregister()
    clipboard.unregister()
    cutout.unregister()
    status_bar.unregister()
    queue_list.unregister()
    thumbnails.unregister()
    session.unregister()
    languages.unregister()
    del bpy.types.Scene.espalier
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
