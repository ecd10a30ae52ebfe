# SPDX-License-Identifier: GPL-3.0-or-later
"""Where packages and weights are fetched from, and how the network is reached."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import unquote, urlsplit

DEFAULT_INDEX = "https://pypi.org/simple/"
DEFAULT_HUB = "https://huggingface.co"

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "index_url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"),
    "ca_bundle": ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"),
    "hub_url": ("HF_ENDPOINT",),
    "hub_token": ("HF_TOKEN",),
}
"""Field -> the environment variables that people already know, the first that is set counts.

HTTPS_PROXY and NO_PROXY are not among them: they belong together, and the libraries themselves obey both as long as
`proxy` is empty.
"""


@dataclass(frozen=True)
class Sources:
    """Where to fetch from.

    `index_url` is the default index or a mirror of it, `proxy` a proxy for every connection (empty: as the environment
    says), `allow_unlocked` whether packages without a locked hash may be taken from their own source.
    `index_url`, `proxy` and `hub_token` may hold secrets: they are never shown, and travel over pipes alone.
    """

    index_url: str = field(default=DEFAULT_INDEX, repr=False)
    ca_bundle: str = ""
    proxy: str = field(default="", repr=False)
    hub_url: str = DEFAULT_HUB
    hub_token: str = field(default="", repr=False)
    allow_unlocked: bool = False

    @classmethod
    def from_environment(cls, **preferences: Any) -> Sources:
        """Return what `preferences` say where they are set, else what the environment says, else the defaults."""
        chosen: dict[str, Any] = {}
        for name in (item.name for item in fields(cls)):
            value = preferences.pop(name, None)
            for variable in VARIABLES.get(name, ()):
                value = value or os.environ.get(variable, "").strip()
            if value:
                chosen[name] = value
        if preferences:
            raise TypeError(f"no such preferences: {', '.join(preferences)}")
        if "index_url" in chosen:  # uv lets people give an index a name: name=url
            before, equals, after = chosen["index_url"].partition("=")
            chosen["index_url"] = after if equals and ":" not in before else chosen["index_url"]
        return cls(**chosen)

    def scrub(self, text: str) -> str:
        """Return `text` without the secrets among these fields."""
        secrets = [self.hub_token]
        for url in (self.index_url, self.proxy, self.hub_url):
            parts = urlsplit(url)
            login = parts.netloc.rpartition("@")[0]
            secrets += [login, parts.password or "", unquote(parts.password or "")]
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def to_json(self) -> dict[str, Any]:
        """Return all fields, secrets among them: for a pipe, never for a file or a log."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sources:
        """Return the sources that `to_json` described."""
        return cls(**data)
