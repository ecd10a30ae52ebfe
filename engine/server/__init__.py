# SPDX-License-Identifier: GPL-3.0-or-later
"""The self-hosted HTTP API over the same JobQueue: the remote engine's surface, on a machine of one's own."""
