# SPDX-License-Identifier: GPL-3.0-or-later
"""Images: reading them safely, finding the subject, framing it."""
