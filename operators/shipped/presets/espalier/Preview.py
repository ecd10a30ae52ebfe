# SPDX-License-Identifier: GPL-3.0-or-later
"""A quick look at what comes out of an image, in the shortest time and for the lowest price"""

import bpy

settings = bpy.context.scene.espalier

settings.resolution = "512"
settings.texture_size = "1024"
settings.decimation_target = 50000
settings.ss_sampling_steps = 8
settings.shape_slat_sampling_steps = 8
settings.tex_slat_sampling_steps = 8
