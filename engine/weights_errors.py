# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with weights and their licenses: a code, one sentence of cause, one sentence of remedy."""

from __future__ import annotations

from collections.abc import Mapping

WEIGHTS_WRONG_ARGUMENTS = frozenset({"license_not_accepted", "license_unknown", "weights_endpoint_invalid"})
"""Those that end a command as wrong arguments do."""

WEIGHTS: Mapping[str, tuple[str, str]] = {
    "license_not_accepted": (
        "The license of {title} has not been accepted yet.",
        "Read it at {url}, then accept it in Espalier's preferences or add --accept {name}.",
    ),
    "license_unknown": ("There is no license called {name}.", "Choose one of {known}."),
    "weights_no_environment": (
        "No environment is installed yet whose engines use weights.",
        "Install cpu for background removal or cuda for TRELLIS.2 first.",
    ),
    "weights_client_missing": (
        "The environment {profile} lacks the part that downloads weights: {reason}.",
        "Repair the environment {profile}, then try again.",
    ),
    "weights_incomplete": (
        "{count} of {total} files of the weights are missing or were changed, {file} among them.",
        "Repair the weights; what is there is not downloaded again.",
    ),
    "weights_damaged": (
        "{count} of {total} files of the weights are damaged, {file} among them.",
        "Repair the weights; only what is damaged is downloaded again.",
    ),
    "weights_offline": (
        "{file} is not on this machine, and downloads from {host} are switched off by HF_HUB_OFFLINE.",
        "Unset HF_HUB_OFFLINE, or put the files into the Hugging Face cache.",
    ),
    "weights_unreachable": (
        "{host} cannot be reached: {reason}.",
        "Check the network connection and the Hugging Face endpoint, then install again; nothing is downloaded twice.",
    ),
    "weights_tls": (
        "The identity of {host} could not be verified: {reason}.",
        "Check this machine's clock; behind a company's proxy, name its CA bundle in Espalier's preferences.",
    ),
    "weights_proxy": (
        "The network proxy does not let {host} be reached: {reason}.",
        "Check the proxy in Espalier's preferences or in the system.",
    ),
    "weights_portal": (
        "{host} answered with something that is not from the Hugging Face Hub, as the login page of a network does.",
        "Open a web page to log in to the network, or check the Hugging Face endpoint, then try again.",
    ),
    "weights_gated": (
        "{host} gives {repo} only to accounts that were granted access.",
        "Ask for access at {page}, then enter your token in Espalier's preferences or set HF_TOKEN.",
    ),
    "weights_token": (
        "{host} does not accept the Hugging Face token.",
        "Make a new one at {page} and enter it in Espalier's preferences, or leave it empty.",
    ),
    "weights_gone": (
        "{host} does not have {file} at the revision that Espalier was made for.",
        "Check the Hugging Face endpoint, or update Espalier.",
    ),
    "weights_changed": (
        "{host} offers another file as {file} than the one that Espalier was made for.",
        "Check the Hugging Face endpoint, or update Espalier.",
    ),
    "weights_wrong": (
        "What {host} delivered as {file} is not what it should be: {reason}.",
        "Try again; if it happens twice, use another network or endpoint.",
    ),
    "weights_refused": (
        "{host} refused {file} with status {status}.",
        "Try again later, or use another Hugging Face endpoint.",
    ),
    "weights_endpoint_invalid": (
        "The Hugging Face endpoint {url} cannot be used: {reason}.",
        "Give an address like https://huggingface.co.",
    ),
    "weights_stopped": (
        "The download of the weights stopped unexpectedly ({reason}).",
        "Install again to go on; nothing is downloaded twice.",
    ),
}
"""code -> (sentence of cause, sentence of remedy); `errors.CATALOGUE` holds them with all others."""
