# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `blender -b -c espalier generate photo.png`, `batch`, `rebuild`, `install` and `doctor`."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import bpy

from ...engine.errors import FAILURE, EspalierError

NAME = "espalier"

_handle: object = None


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code: 0 if all came out, 2 for wrong arguments, else as the command says."""
    from . import arguments, batch, batch_arguments, doctor, execute, install

    try:
        options = arguments.parse(argv)
    except EspalierError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return error.exit_code
    if isinstance(options, str):
        print(options)
        return 0
    try:
        if isinstance(options, batch_arguments.Batch):
            return batch.run(options)
        if isinstance(options, doctor.Checkup):
            return doctor.run(options)
        return install.run(options) if isinstance(options, install.Installation) else execute.run(options)
    except EspalierError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        # Blender would end with exit code 0 after an exception in a command.
        traceback.print_exc()
        unexpected = EspalierError("internal", reason=f"{type(error).__name__}: {error}", log="the lines above")
        print(f"{NAME}: {unexpected}", file=sys.stderr)
        return FAILURE


def register() -> None:
    """Offer the command to `blender -c`."""
    global _handle
    _handle = bpy.utils.register_cli_command(NAME, main)


def unregister() -> None:
    """Withdraw the command."""
    global _handle
    bpy.utils.unregister_cli_command(_handle)
    _handle = None
