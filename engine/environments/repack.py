# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a wheel of a package whose authors publish its source alone: pure Python, copied and not run.

The wheel's bytes depend on the files only, not on the archive that they came in: its hash can be locked although
the host may compress anew. Nothing of the package is executed, neither here nor when the wheel is installed.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path, PurePosixPath

from .wheel import record_hash

_EPOCH = (1980, 1, 1, 0, 0, 0)
_TAG = "py3-none-any"


def wheel_name(name: str, version: str) -> str:
    """Return the file name of the wheel that `repack` makes."""
    return f"{name.replace('-', '_')}-{version}-{_TAG}.whl"


def repack(archive: Path, target: Path, name: str, version: str) -> None:
    """Write the wheel `target` of the package `name` from a zip of its repository, whose top folder may have any name.

    The package is the folder of its own name there; the license goes along. Raises ValueError where the zip holds no
    such package, or OSError.
    """
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: espalier\nRoot-Is-Purelib: true\nTag: {_TAG}\n".encode(),
    }
    try:
        with zipfile.ZipFile(archive) as source:
            for member in source.infolist():
                parts = PurePosixPath(member.filename).parts[1:]
                if member.is_dir() or not parts or ".." in parts:
                    continue
                if parts[0] == module:
                    files["/".join(parts)] = source.read(member)
                elif len(parts) == 1 and parts[0].startswith("LICENSE"):
                    files[f"{info}/licenses/{parts[0]}"] = source.read(member)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive.name} is not a zip") from error
    if f"{module}/__init__.py" not in files:
        raise ValueError(f"{archive.name} holds no package {module}")
    record = [
        f"{path},{record_hash(hashlib.sha256(files[path]).hexdigest())},{len(files[path])}\n" for path in sorted(files)
    ]
    files[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"]).encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as wheel:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            wheel.writestr(entry, files[path])
