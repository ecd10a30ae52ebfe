# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates for servers on loopback, made by the openssl program."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

AVAILABLE = shutil.which("openssl") is not None
LOOPBACK = "IP:127.0.0.1,IP:127.0.0.2,DNS:localhost"


@dataclass(frozen=True)
class Authority:
    """A certificate authority of one's own in `folder`; `bundle` is what a client has to trust."""

    folder: Path

    @property
    def bundle(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str, names: str = LOOPBACK, days: int = 2, since: str = "") -> tuple[Path, Path]:
        """Return the files of a certificate for `names` and of its key; with negative `days`, one that has expired.

        `since` is the moment from which it is valid, such as 20990101000000Z.
        """
        key, request, chain = (self.folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        extension = self.folder / f"{name}.ext"
        extension.write_text(f"subjectAltName={names}\n")
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=server",
                 "-keyout", str(key), "-out", str(request))  # fmt: skip
        if since:
            self._sign(request, chain, extension, since)
            return chain, key
        _openssl("x509", "-req", "-in", str(request), "-CA", str(self.bundle), "-CAkey", str(self.folder / "ca.key"),
                 "-set_serial", "7", "-days", str(days), "-extfile", str(extension), "-out", str(chain))  # fmt: skip
        return chain, key

    def _sign(self, request: Path, chain: Path, extension: Path, since: str) -> None:
        """Sign `request` as from `since` on: only the command of a whole authority can do that in every openssl."""
        database, settings = self.folder / "index.txt", self.folder / "ca.cnf"
        database.write_text("")
        settings.write_text(
            f"[ca]\ndefault_ca=one\n[one]\ndatabase={database}\nnew_certs_dir={self.folder}\nrand_serial=yes\n"
            "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n"
        )
        _openssl("ca", "-batch", "-notext", "-config", str(settings), "-cert", str(self.bundle),
                 "-keyfile", str(self.folder / "ca.key"), "-in", str(request), "-out", str(chain),
                 "-startdate", since, "-enddate", "20991231235959Z", "-extfile", str(extension))  # fmt: skip


def authority(folder: Path) -> Authority:
    """Make an authority in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=Test CA",
             "-days", "3", "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.pem"),
             "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    return Authority(folder)


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
