# SPDX-License-Identifier: GPL-3.0-or-later
"""The failures of environments that a person can meet: a code, one sentence of cause, one sentence of remedy."""

from __future__ import annotations

from collections.abc import Mapping

ENVIRONMENT_ARGUMENTS = frozenset({"environment_unknown", "install_unasked"})
"""Those that end a command as wrong arguments do."""

_REPAIR = "Repair it in Espalier's preferences, or run blender -b -c espalier install {profile} --repair"

ENVIRONMENT: Mapping[str, tuple[str, str]] = {
    "environment_unknown": ("There is no environment called {name}.", "Choose one of {known}."),
    # How one stands
    "environment_missing": (
        "The environment {profile} is not installed.",
        "Install it in Espalier's preferences, or run blender -b -c espalier install {profile}.",
    ),
    "environment_interrupted": (
        "The installation of the environment {profile} was interrupted.",
        "Press Install to go on, or use the command espalier install {profile}; nothing is downloaded twice.",
    ),
    "environment_other_python": (
        "The environment {profile} was made for Python {theirs}, and this Blender has {ours}.",
        f"{_REPAIR}.",
    ),
    "environment_python_gone": (
        "The Python that the environment {profile} was made with is gone.",
        f"{_REPAIR}.",
    ),
    "environment_stamp": (
        "The environment {profile} does not tell what is installed in it: {reason}.",
        f"{_REPAIR}.",
    ),
    "environment_outdated": (
        "The environment {profile} does not hold the packages that this Espalier uses.",
        f"{_REPAIR}.",
    ),
    "environment_damaged": (
        "The environment {profile} is damaged: {count} of its files are changed or missing, such as {name}.",
        f"{_REPAIR}.",
    ),
    "environment_imports": (
        "The package {package} cannot be loaded in the environment {profile}: {reason}.",
        f"{_REPAIR}; if it happens twice, look at the log in {{log}}.",
    ),
    "environment_platform": (
        "The environment {profile} cannot run on {platform}.",
        "Use the remote engine, or another computer.",
    ),
    "environment_python": (
        "The environment {profile} is not made for Python {python}.",
        "Use {known}.",
    ),
    "environment_no_gpu": (
        "The environment {profile} needs an NVIDIA graphics card, and no driver of one was found.",
        "Install NVIDIA's driver, or use the remote engine.",
    ),
    "environment_lock": (
        "The list of packages {name} cannot be read: {reason}.",
        "Install Espalier again from its zip; the list comes with it.",
    ),
    "environment_unlocked": (
        "No hash is locked for {packages}: {reason}.",
        "Wait for an update of Espalier, or allow packages without a locked hash in its preferences.",
    ),
    # Fetching
    "environment_offline": (
        "{host} cannot be reached: {reason}.",
        "Check the network connection and the index URL, then go on; nothing is downloaded twice.",
    ),
    "environment_proxy": (
        "The network proxy does not let {host} be reached: {reason}.",
        "Check the proxy in Espalier's preferences, or that of the system.",
    ),
    "environment_tls": (
        "The identity of {host} could not be verified: {reason}.",
        "Behind a company's proxy, name its CA bundle in Espalier's preferences.",
    ),
    "environment_clock": (
        "The certificate of {host} is not valid on {date}, the date of this computer: {reason}.",
        "Set the clock of this computer if it is wrong, then try again.",
    ),
    "environment_ca": (
        "The CA bundle {path} cannot be used: {reason}.",
        "Choose a PEM file with certificates in Espalier's preferences, or leave it empty.",
    ),
    "environment_insecure": (
        "{name} would come from {host} without encryption and without a locked hash.",
        "Wait for an update of Espalier that locks its hash.",
    ),
    "environment_portal": (
        "{host} answered with a web page in place of {name}, as networks do that ask to sign in.",
        "Sign in to the network in a web browser, or check the index URL, then try again.",
    ),
    "environment_refused": (
        "{host} answered the request for {name} with status {status}.",
        "Check the index URL in Espalier's preferences, or try again in a few minutes.",
    ),
    "environment_not_offered": (
        "{host} does not offer {name}.",
        "Check the index URL in Espalier's preferences; a mirror may need to be filled first.",
    ),
    "environment_wrong_file": (
        "What {host} delivered as {name} is not the locked file: {reason}.",
        "Try again; if it happens twice, check the index URL, for the file there may have been tampered with.",
    ),
    # Building
    "environment_space": (
        "{need} are needed in {path}, and {free} are free.",
        "Free some space, or choose another place in Espalier's preferences.",
    ),
    "environment_busy": (
        "Another Blender is working on the environments in {path}.",
        "Wait until it is done, then try again.",
    ),
    "environment_in_use": (
        "The environment {profile} is in use and cannot be replaced: {reason}.",
        "Wait until its jobs are done or restart Blender, then try again; what was made is kept.",
    ),
    "environment_tool": (
        "The program uv, which makes environments, cannot be used: {reason}.",
        "Install Espalier again from its zip; the program comes with it.",
    ),
    "environment_build": (
        "The environment {profile} could not be made: {reason}.",
        "Try again; if it happens twice, look at the log in {log}.",
    ),
    "environment_died": (
        "The work on the environment {profile} stopped without a result ({reason}).",
        "Try again; what is downloaded already is not downloaded again.",
    ),
    # What a person asks for in Blender or on the command line
    "install_busy": (
        "{label} is being worked on already.",
        "Wait until that is done, or cancel it.",
    ),
    "install_offline": (
        "Blender may not use the network, so {host} cannot be asked for what {label} still needs.",
        "Turn on Allow Online Access in Preferences > System > Network, or start Blender with --online-mode.",
    ),
    "install_locked": (
        "Blender was started without access to the network, so {host} cannot be asked for what {label} still needs.",
        "Start it without --offline-mode.",
    ),
    "install_unasked": (
        "Nobody can be asked whether to {act} {profile} ({what}).",
        "Add --yes to do it.",
    ),
    "install_declined": ("Nothing was done with {profile}.", "Answer y, or add --yes."),
    "install_stopped": (
        "The work on {profile} was stopped; what is downloaded is kept.",
        "Run the same command to go on.",
    ),
}
"""code -> (sentence of cause, sentence of remedy); `errors.CATALOGUE` holds them with all others."""
