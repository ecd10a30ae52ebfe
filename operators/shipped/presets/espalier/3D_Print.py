# SPDX-License-Identifier: GPL-3.0-or-later
"""One closed surface without inner shells, fine enough for a printer; the texture hardly matters"""

import bpy

settings = bpy.context.scene.espalier

settings.resolution = "1536"
settings.texture_size = "1024"
settings.decimation_target = 500000
settings.remesh = True
settings.remesh_band = 2.0
settings.drop_inner_shells = True
settings.normal_map = "off"
