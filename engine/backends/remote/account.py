# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks which server: the base URL, the key and where it came from, and what must never be told of it."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ...addresses import host_of, is_private
from ...errors import EspalierError
from .vault import recent_key

VENDOR_URL = "https://api.empiriolabs.ai"
KEY_VARIABLE = "EMPIRIOLABS_API_KEY"
URL_VARIABLE = "ESPALIER_API_URL"
_HIDDEN = "[hidden]"
_MESSAGE_LIMIT = 400
_URL_LIMIT = 2048
_KEY = re.compile(r"[\x21-\x7e]+")
_KEY_LIKE = (
    re.compile(r"\bsk[-_][\w*.\u2026-]{4,}", re.IGNORECASE),
    re.compile(r"\b(?:pk|rk|key|gh[a-z]|xox[a-z])[-_](?=\S*\d)[\w*.\u2026-]{8,}", re.IGNORECASE),
    re.compile(r"\bbearer\s+(?=\S*\d|\S{16})[\w.~+/=*-]{4,}", re.IGNORECASE),
    re.compile(
        r"(?<![a-z])((?:x-)?api[-_ ]?key|authorization|access[-_ ]?token|token|secret|password|signature)"
        r"([\"']?\s*[:=]\s*[\"']?)(?=\S*\d|\S{16})[^\s\"',;&<>]{4,}",
        re.IGNORECASE,
    ),
    re.compile(r"\b(?=\w*[a-z])(?=\w*[A-Z])(?=\w*\d)\w{32,}"),
)
_QUERY = re.compile(r"(\bhttps?://[^\s?#\"'<>]+)[?#][^\s\"'<>]*", re.IGNORECASE)
_USER = re.compile(r"(\bhttps?://)[^\s/@\"'<>]+@", re.IGNORECASE)


class Secret:
    """A text that shows itself to nobody but the one who asks with `reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return f"Secret({_HIDDEN if self._text else ''})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a secret is not written anywhere")


@dataclass(frozen=True, slots=True)
class Account:
    """What is needed to speak to the server. `base` has no slash at its end; `key_source` completes "from ...".

    `ca_bundle` is a PEM file or empty, `max_side` in pixels, `shared` a folder of this machine, or None.
    """

    base: str
    key: Secret
    key_source: str
    ca_bundle: str
    max_side: int
    online: bool
    shared: Path | None
    requests_per_minute: int

    @classmethod
    def from_json(
        cls,
        data: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        keyring: Callable[[str], str] = recent_key,
    ) -> Account:
        """Return the account that `data` (the contract's account) and the environment describe.

        Raises EspalierError `remote_url_invalid`, `remote_url_insecure`, `remote_ca_missing` or `remote_key_invalid`.
        """
        variables = os.environ if environment is None else environment
        base = checked_base(variables.get(URL_VARIABLE, "") or str(data.get("base_url") or "") or VENDOR_URL)
        ca_bundle = str(data.get("ca_bundle") or "")
        if ca_bundle and not os.access(ca_bundle, os.R_OK):
            raise EspalierError("remote_ca_missing", path=ca_bundle)
        key, source = _find_key(host_of(base), data, variables, keyring)
        if key and not _KEY.fullmatch(key):
            raise EspalierError(
                "remote_key_invalid", host=host_of(base), source=source, message=": it holds characters that no key has"
            )
        shared = str(data.get("shared") or "")
        return cls(
            base=base,
            key=Secret(key),
            key_source=source,
            ca_bundle=ca_bundle,
            max_side=max(int(data.get("max_side") or 1024), 16),
            online=bool(data.get("online", False)),
            shared=Path(shared) if shared else None,
            requests_per_minute=max(int(data.get("requests_per_minute") or 50), 1),
        )

    @property
    def host(self) -> str:
        """The server as a person knows it: host, and port where it is not the usual one."""
        return host_of(self.base)

    @property
    def is_vendors(self) -> bool:
        """Whether the server is the vendor's own, whose prices are known."""
        return self.base == VENDOR_URL

    def ensure_usable(self) -> None:
        """Raise EspalierError `remote_offline` or `remote_key_missing` where the server cannot be asked at all."""
        nearby = is_private(self.base)
        if not self.online and not nearby:
            raise EspalierError("remote_offline", host=self.host)
        if not self.key and not nearby:
            raise EspalierError("remote_key_missing", host=self.host)

    def scrub(self, text: str) -> str:
        """Return `text` on one line, shortened, without the key and without anything that looks like one."""
        return scrub(text, self.key)


def checked_base(url: str) -> str:
    """Return the base URL as it is used: with a scheme, without a slash or `/v1` at its end.

    Raises EspalierError `remote_url_invalid` or `remote_url_insecure`.
    """
    text = url.strip()
    shown = scrub(text)
    if "://" not in text:
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname or ""
    except ValueError as error:
        raise EspalierError("remote_url_invalid", detail=repr(error), url=shown) from None
    odd = any(ord(letter) <= 32 for letter in text) or "@" in parts.netloc or port == 0
    if parts.scheme.lower() not in ("http", "https") or not host.strip(".") or odd or parts.query or parts.fragment:
        raise EspalierError("remote_url_invalid", url=shown)
    base = f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path.rstrip('/').removesuffix('/v1').rstrip('/')}"
    if parts.scheme.lower() == "http" and not is_private(base):
        raise EspalierError("remote_url_insecure", url=shown)
    if len(base) > _URL_LIMIT:
        raise EspalierError("remote_url_invalid", url=shown)
    return base


def scrub(text: str, key: Secret | None = None) -> str:
    """Return `text` on one line and shortened, without `key`, anything that looks like a key, and URLs' queries."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text[: 20 * _MESSAGE_LIMIT]).split())
    secret = key.reveal() if key else ""
    if secret:
        forms = (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("="))
        for form in forms:
            plain = plain.replace(form, _HIDDEN)
    plain = _USER.sub(r"\1", _QUERY.sub(r"\1", plain))
    for pattern in _KEY_LIKE:
        plain = pattern.sub(rf"\1\2{_HIDDEN}" if pattern.groups else _HIDDEN, plain)
    return plain if len(plain) <= _MESSAGE_LIMIT else f"{plain[:_MESSAGE_LIMIT].rstrip()}\u2026"


def _find_key(
    host: str, data: Mapping[str, Any], variables: Mapping[str, str], keyring: Callable[[str], str]
) -> tuple[str, str]:
    """Return the key and where it came from: environment, system keyring, preferences, in this order."""
    if key := variables.get(KEY_VARIABLE, "").strip():
        return key, f"the environment variable {KEY_VARIABLE}"
    if key := keyring(host).strip():
        return key, "the system's keyring"
    return str(data.get("key") or "").strip(), "Espalier's preferences"
