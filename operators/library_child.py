# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Blender without a window runs beside the artist's: it turns results of the library into assets.

It is started with `--python` on this very file, which therefore is no module of the extension there. On its standard
input comes one JSON object: `library` (the folder), `results` (names of folders in it) and `author`; on its standard
output goes a line for each result, marked with `MARK`, as Blender itself writes there too.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

MARK = "ESPALIER-ASSET "
_NAME = "espalier_beside"


def main() -> None:
    """Do what is asked for on the standard input; a result that fails does not keep the others from their turn."""
    order = json.loads(sys.stdin.buffer.readline())
    with contextlib.suppress(AttributeError, OSError):  # Windows has another way, which the parent uses
        os.nice(10)
    _adopt(Path(__file__).resolve().parents[1])
    library = Path(order["library"])
    for name in order["results"]:
        told = {"result": name, "error": None}
        try:
            _make(library, name, order["author"])
        except Exception as error:
            told["error"] = _failure(error, library / name)
        sys.stdout.write(f"\n{MARK}{json.dumps(told)}\n")
        sys.stdout.flush()


def _make(library: Path, name: str, author: str) -> None:
    module = importlib.import_module(f"{_NAME}.operators.scene.asset_file")
    catalog = importlib.import_module(f"{_NAME}.engine.jobs.catalog")
    provenance = importlib.import_module(f"{_NAME}.engine.provenance")
    job = module.read_job(library / name)
    engine = provenance.generation(module.properties_of(job)).get("engine") or job.request.engine
    label = provenance.engine_label(engine)
    catalog.ensure_catalogs(library, [label])
    module.write_asset_file(library / name, catalog.catalog_id(label), author)


def _failure(error: Exception, folder: Path) -> dict[str, object]:
    errors = importlib.import_module(f"{_NAME}.engine.errors")
    if not isinstance(error, errors.EspalierError):
        detail = "".join(traceback.format_exception(error))[-4000:]
        reason = traceback.format_exception_only(error)[-1].strip()
        error = errors.EspalierError("import_failed", detail, name=folder.name, reason=reason)
    return error.to_json()


def _adopt(root: Path) -> None:
    """Make the folder of the extension a package, without what its own `__init__` files would register."""
    for name, folder in ((_NAME, root), (f"{_NAME}.operators", root / "operators")):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package


if __name__ == "__main__":
    main()
