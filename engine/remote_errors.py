# SPDX-License-Identifier: GPL-3.0-or-later
"""The failures of the remote engine that a person can meet: a code, one sentence of cause, one sentence of remedy."""

from __future__ import annotations

from collections.abc import Mapping

WRONG_ARGUMENTS = frozenset({"spending_unasked", "remote_url_invalid", "remote_url_insecure"})
"""Those that end a command as wrong arguments do."""

REMOTE: Mapping[str, tuple[str, str]] = {
    "remote_offline": (
        "Blender may not use the network, so {host} cannot be asked.",
        "Turn on Allow Online Access in Preferences > System > Network, or start Blender with --online-mode.",
    ),
    "remote_locked": (
        "Blender was started without access to the network, so {host} cannot be asked.",
        "Start it without --offline-mode.",
    ),
    "spending_unasked": (
        "It would cost {total}, more than the {limit} that may be spent unasked.",
        "Add --yes to spend it, or raise Ask Above USD in Espalier's preferences.",
    ),
    "remote_url_invalid": (
        "The base URL {url} is not the address of a server.",
        "Give an address like https://api.example.com, without a user name or a password.",
    ),
    "remote_url_insecure": (
        "The base URL {url} is not encrypted, so anyone on the way could read the API key.",
        "Use https; http is for addresses of this machine and of the local network.",
    ),
    "remote_key_missing": (
        "There is no API key for {host}.",
        "Enter one in Espalier's preferences, or set EMPIRIOLABS_API_KEY.",
    ),
    "remote_key_invalid": (
        "{host} does not accept the API key from {source}{message}.",
        "Check that key, or make a new one in your account there.",
    ),
    "remote_forbidden": (
        "{host} does not allow this request with the API key from {source}{message}.",
        "Give the key the right to generate, or use another one.",
    ),
    "remote_credits": (
        "The account at {host} does not have enough credit{message}.",
        "Top up the account, then press Retry.",
    ),
    "remote_model_missing": (
        "{host} has no model {model}{message}.",
        "Check the base URL in Espalier's preferences.",
    ),
    "remote_model_unavailable": (
        "The model {model} is not available at {host} for now{message}.",
        "Press Retry in a few minutes.",
    ),
    "remote_rate": (
        "{host} accepts no more requests from this account for now{message}.",
        "Press Retry in a minute, or stop other programs that use the account.",
    ),
    "remote_refused": (
        "{host} refused the request with status {status}{message}.",
        "Change what it complains about, then press Retry.",
    ),
    "remote_broken": (
        "{host} has a failure of its own, status {status}{message}.",
        "Press Retry in a few minutes.",
    ),
    "remote_unreachable": (
        "{host} cannot be reached: {reason}.",
        "Check the network connection and the base URL, then press Retry.",
    ),
    "remote_tls": (
        "The identity of {host} could not be verified: {reason}.",
        "Check the clock and the base URL; behind a company's proxy, name its CA bundle in Espalier's preferences.",
    ),
    "remote_proxy": (
        "The network proxy does not let {host} be reached: {reason}.",
        "Check the proxy settings of the system.",
    ),
    "remote_ca_missing": (
        "The CA bundle {path} cannot be used.",
        "Choose a PEM file with certificates in Espalier's preferences, or leave it empty.",
    ),
    "remote_redirected": (
        "{host} sends the request on to {target}, where the API key must not go.",
        "If you trust that address, make it the base URL in Espalier's preferences.",
    ),
    "remote_unreadable": (
        "{host} gave an answer that cannot be understood: {reason}.",
        "Check the base URL in Espalier's preferences.",
    ),
    "remote_circuit_open": (
        "{host} failed {failures} times in a row, so nothing was sent.",
        "Press Retry in {seconds} seconds or later.",
    ),
    "remote_outcome_unknown": (
        "The answer of {host} to the request was lost ({reason}), so it may be working on it; {known}.",
        "Look at the account's usage before you press Retry, which may be billed again.",
    ),
    "remote_not_found": (
        "The account's usage does not tell which request belongs to this job.",
        "Look at the usage in your account, then press Retry or put the job away.",
    ),
    "remote_job_failed": (
        "{host} could not make the asset{message}.",
        "Try another image or other settings; the account's usage tells whether it was billed.",
    ),
    "remote_job_stopped": (
        "The job was stopped at {host}: its state is {status}{message}.",
        "Press Retry to generate again, which is billed again.",
    ),
    "remote_job_lost": (
        "{host} does not know the job {job} any more.",
        "Look for the asset in the account's usage before you press Retry, which is billed again.",
    ),
    "remote_elsewhere": (
        "The job is at {server}, but {host} is to be asked now.",
        "Set the base URL back to {server}, then press Retry, which is not billed again.",
    ),
    "remote_asset_none": (
        "{host} says that the asset is finished and names no file.",
        "Press Retry to ask again; nothing is generated anew.",
    ),
    "remote_asset_gone": (
        "The finished asset can no longer be downloaded from {host} (status {status}).",
        "Look for it in the account's usage, or generate it again.",
    ),
    "remote_asset_large": (
        "The asset from {host} is larger than {limit} MB.",
        "Lower the texture size or the target faces, then generate again.",
    ),
    "remote_asset_invalid": (
        "What {host} delivered is not a GLB file: {reason}.",
        "Press Retry to download it again; nothing is generated anew.",
    ),
    "remote_download": (
        "The asset could not be downloaded from {host}: {reason}.",
        "Press Retry to go on; nothing is generated anew.",
    ),
    "remote_asset_refused": (
        "The asset is offered at {target}, which is not a safe address to download from.",
        "Check the base URL in Espalier's preferences.",
    ),
}
"""code -> (sentence of cause, sentence of remedy); `errors.CATALOGUE` holds them with all others."""
