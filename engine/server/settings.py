# SPDX-License-Identifier: GPL-3.0-or-later
"""How a server is set up."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

MODEL: Final = "trellis-2-4b"
MEGABYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a server. `root` holds the ledger, the library, the inputs and the tokens.

    `public_url` is what comes before the paths of assets, empty for the address that a request came to. `slots` is how
    many jobs run side by side. `keep_s` is for how long a finished job and its asset are kept. Sizes are in bytes,
    times in seconds. `private_images` allows images at addresses of this machine and of private networks.
    """

    root: Path
    engine: str = "draft"
    host: str = "127.0.0.1"
    port: int = 8191
    public_url: str = ""
    slots: int = 1
    keep_s: float = 86400.0
    body_bytes: int = 48 * MEGABYTE
    body_s: float = 60.0
    image_bytes: int = 32 * MEGABYTE
    image_pixels: int = 64_000_000
    fetch_s: float = 30.0
    private_images: bool = False
    requests_per_minute: int = 1200
    most_of_token: int = 1000
    most_in_all: int = 10_000
    drain_s: float = 600.0
    connections: int = 4000

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback_host(self.host)


@lru_cache(64)
def is_loopback_host(host: str) -> bool:
    """Tell whether `host`, as it is given to listen on, is this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
