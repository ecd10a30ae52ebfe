# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with a batch: a code, one sentence of cause, one sentence of remedy."""

from __future__ import annotations

from collections.abc import Mapping

BATCH_WRONG_ARGUMENTS = frozenset(
    {
        *("batch_input_missing", "batch_empty", "batch_budget_unpriced"),
        *("manifest_unreadable", "manifest_rows", "manifest_name", "manifest_cells"),
    }
)
"""Those that end a command as wrong arguments do."""

FAILS_ALL = frozenset(
    {
        *("disk_full", "ledger_busy", "ledger_damaged", "ledger_newer"),
        *("worker_start", "module_missing", "python_missing"),
        *("environment_missing", "environment_interrupted", "environment_outdated", "environment_stamp"),
        *("environment_other_python", "environment_python_gone", "environment_damaged"),
        *("trellis2_not_installed", "trellis2_no_gpu", "trellis2_torch_cpu", "trellis2_driver", "trellis2_compiler"),
        *("trellis2_architecture", "trellis2_weights_none", "trellis2_weights_missing", "trellis2_weights_damaged"),
        *("remote_offline", "remote_locked", "remote_key_missing", "remote_key_invalid", "remote_credits"),
        *("remote_tls", "remote_proxy", "remote_ca_missing", "remote_redirected", "remote_model_missing"),
        "remote_circuit_open",
    }
)
"""Those that no image is to blame for, so that the next one would fail alike."""

BATCH: Mapping[str, tuple[str, str]] = {
    "batch_input_missing": (
        "There is nothing at {path}.",
        "Name a folder, a pattern in quotes, or a CSV or JSON manifest that exists.",
    ),
    "batch_empty": (
        "There is no image at {path}.",
        "Name a folder, a pattern or a manifest of PNG, JPEG, WebP, TIFF or BMP files.",
    ),
    "batch_budget_unpriced": (
        "The server does not tell what an asset costs, so no budget can be kept.",
        "Leave out --budget-usd, or use a server that tells its prices.",
    ),
    "batch_budget_reached": (
        "Another asset for {price} does not fit into the budget of {limit}.",
        "Raise --budget-usd, and go on with --resume.",
    ),
    "batch_stopped": ("The batch was stopped before it came to {name}.", "Go on with --resume."),
    "batch_report_damaged": (
        "The report {path} of the earlier run cannot be read.",
        "Move it away to begin anew, or put it back as it was.",
    ),
    "manifest_unreadable": (
        "The manifest {path} cannot be read: {reason}.",
        "Save it as UTF-8, as CSV with a header line or as a JSON list of objects.",
    ),
    "manifest_rows": (
        "{count} of {total} rows of {path} cannot be used, and nothing was started.",
        "Mend the lines named above, then start again.",
    ),
    "manifest_name": (
        "{name} cannot be the name of a file.",
        "Give a name without slashes, colons and the like, or leave it out.",
    ),
    "manifest_cells": (
        "The line has {count} cells, more than the {columns} columns of the header.",
        "Put quotes around a cell that holds the separator.",
    ),
}
