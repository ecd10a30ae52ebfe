# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything Espalier does that is not Blender: requests, jobs, workers, backends, meshes and images.

Nothing in this package imports `bpy`. All imports are relative, so that the same files load as part of the extension,
as the top-level package `engine` in a worker, and on a server without Blender.
"""

__version__ = "0.1.0"
