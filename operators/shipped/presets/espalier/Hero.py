# SPDX-License-Identifier: GPL-3.0-or-later
"""All detail that the models can give, for close-ups: slow, and the most expensive where it is paid for"""

import bpy

settings = bpy.context.scene.espalier

settings.resolution = "1536"
settings.texture_size = "4096"
settings.decimation_target = 1000000
settings.ss_sampling_steps = 24
settings.shape_slat_sampling_steps = 24
settings.tex_slat_sampling_steps = 24
settings.normal_map = "auto"
settings.uv_unwrap_refine_iterations = 2
