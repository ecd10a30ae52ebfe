# SPDX-License-Identifier: GPL-3.0-or-later
"""Many images at once: what is to be made of which, what is done already, and the report. Knows no queue."""
