# SPDX-License-Identifier: GPL-3.0-or-later
"""The failures that the server, and a program that asks it, can meet: a code, a sentence of cause, one of remedy."""

from __future__ import annotations

from collections.abc import Mapping

SERVER_ARGUMENTS = frozenset({"server_open", "server_token_name", "server_token_taken", "server_token_unknown"})
"""Those that end a command as wrong arguments do."""

SERVER: Mapping[str, tuple[str, str]] = {
    # Starting it
    "server_open": (
        "Other machines could use the server at {host}, and it has no token.",
        "Make one with `python -m engine.server token add NAME`, or listen on 127.0.0.1.",
    ),
    "server_token_name": (
        "{name} cannot be the name of a token.",
        "Give 1 to 40 letters, digits, dots, dashes or underscores.",
    ),
    "server_token_taken": ("There is a token called {name} already.", "Remove it first, or choose another name."),
    "server_token_unknown": (
        "There is no token called {name}.",
        "Look at the list of tokens.",
    ),
    "server_tokens_damaged": ("The list of tokens {path} cannot be read.", "Move it away and make new tokens."),
    "server_root_shared": (
        "Another server already works with the folder {path}.",
        "Stop it, or give this one a folder of its own with --root.",
    ),
    # The store of a fleet
    "server_store_missing": (
        "There is nothing at {store}, the store of this fleet.",
        "Make the bucket or the folder, or give another address as `store`.",
    ),
    "server_store_refused": (
        "The store {store} refuses this fleet's key, or what it may do there.",
        "Give a key that may read, write and delete, in the variables that `ray start` sees.",
    ),
    "server_store_unknown": (
        "The store {store} cannot be used: {reason}.",
        "Install the package for its kind of address (`s3fs` for s3://), and check its variables.",
    ),
    "server_store_down": (
        "The store {store} does not answer as it should: {reason}.",
        "Check its address and the network, then try again.",
    ),
    # Who may ask
    "server_key_missing": ("The request carries no API key.", "Send one as a bearer token or as x-api-key."),
    "server_key_invalid": ("The API key is not known here.", "Ask whoever runs the server for a token."),
    "server_host": (
        "The request names a host or an origin that this server does not answer for.",
        "Use the address that the server was started with.",
    ),
    "server_rate": ("More requests came than {limit} a minute.", "Try again in {seconds} seconds."),
    "server_queue": ("{count} jobs of this key are unfinished, the most that it may have.", "Wait for one of them."),
    "server_full": ("The server has {count} unfinished jobs, the most that it takes.", "Try again in some minutes."),
    "server_draining": ("The server is being stopped and takes no new jobs.", "Try again when it is back."),
    # What is asked
    "server_not_found": ("There is nothing at this address.", "Look at /docs for what there is."),
    "server_body_large": ("The request is larger than {limit} MB.", "Scale the image down."),
    "server_body_slow": ("The request did not arrive within {seconds} seconds.", "Send it again on a faster network."),
    "server_body_type": ("The body is {type}, which is not understood.", "Send JSON or a multipart form."),
    "server_body_invalid": ("The body cannot be read: {reason}.", "Send what /docs describes."),
    "server_query": ("{name} cannot be {value}.", "Give {expected}."),
    "server_model_unknown": ("There is no model {model}.", "The model here is {known}."),
    "server_parameter_unknown": (
        "There is no parameter called {name}.",
        "Use those that the description of the model lists.",
    ),
    "server_job_unknown": ("There is no job {job}, or it has expired.", "Generate again."),
    # The image
    "server_image_count": ("The request must have exactly one image.", "Give it as image or as image_url."),
    "server_image_form": (
        "The image is neither an address nor a data URI of an image.",
        "Give http, https, or data:image/png;base64,...",
    ),
    "server_image_large": ("The image has more than {limit} MB.", "Scale it down."),
    "server_image_pixels": (
        "The image has {width} x {height} pixels, more than {limit} million in all.",
        "Scale it down; 1024 pixels on the longest side are enough.",
    ),
    "server_fetch_refused": (
        "The image may not be fetched from {host}.",
        "Give a public address, or send the image itself.",
    ),
    "server_fetch_failed": (
        "The image could not be fetched from {host}: {reason}.",
        "Check the address, or send the image itself.",
    ),
    # The asset
    "server_link_invalid": ("The address of the asset is not one that this server gave.", "Ask after the job again."),
    "server_link_expired": ("The address of the asset, or the asset itself, has expired.", "Generate again."),
    "server_failure": ("The server failed.", "Try again, and tell whoever runs it if it happens twice."),
}
"""code -> (sentence of cause, sentence of remedy); `errors.CATALOGUE` holds them with all others."""
