# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs, waits or failed: the states of a job, the ledger that remembers them, and the queue that moves them."""
