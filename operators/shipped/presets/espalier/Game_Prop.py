# SPDX-License-Identifier: GPL-3.0-or-later
"""A closed, light mesh with a normal map and one 2048 texture, ready for a real-time engine"""

import bpy

settings = bpy.context.scene.espalier

settings.resolution = "1024"
settings.texture_size = "2048"
settings.decimation_target = 20000
settings.remesh = True
settings.drop_inner_shells = True
settings.normal_map = "on"
settings.texture_format = "png"
settings.uv_unwrap_refine_iterations = 2
