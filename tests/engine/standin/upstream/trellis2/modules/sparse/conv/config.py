# SPDX-License-Identifier: GPL-3.0-or-later
"""How convolutions are made."""

FLEX_GEMM_ALGO = "masked_implicit_gemm_splitk"
