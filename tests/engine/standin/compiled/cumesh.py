# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in that is only looked for."""
