# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed Python environments that engines run in: made, verified, repaired and removed beside Blender's.

`status` tells how an environment stands, `Task` changes it in a child process. Only `Places.root` is written to.
"""
