# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's command line without a Blender program: `python -m tests.support.command ARGS...`, beside a `bpy`.

The zip is built and installed as a person would have it, and `blender -b -c espalier ARGS...` answers the same.
"""

from __future__ import annotations

import sys

from . import extension


def main(arguments: list[str]) -> int:
    """Run the command with `arguments` and return its exit code."""
    extension.prepare("command")
    extension.enable()
    return int(extension.module("operators.command").main(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
