# SPDX-License-Identifier: GPL-3.0-or-later
"""Background removal with rembg and a model that lies in the folder of weights; nothing is ever downloaded here."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

FOLDER = "ESPALIER_WEIGHTS"
"""Environment variable: the folder of weights, which has the models in its folder `rembg`."""
CHOICE = "ESPALIER_BACKGROUND_MODEL"
"""Environment variable: the model to use, where it is there; else a smaller one is."""
MODELS = ("birefnet-general", "isnet-general-use", "u2netp")
"""The models, the best and slowest first."""
USUAL = "isnet-general-use"
"""What is used unless another one is chosen: birefnet-general takes a processor half a minute and 7 GB of memory."""

_log = logging.getLogger(__name__)


def available() -> bool:
    """Tell whether rembg can be imported and has a model; imports nothing."""
    return find_spec("rembg") is not None and chosen_model() is not None


def chosen_model() -> tuple[str, Path] | None:
    """Return the name and the file of the model to use: the one that is chosen, else the next smaller one there is."""
    folder = os.environ.get(FOLDER, "")
    wish = os.environ.get(CHOICE, "") or USUAL
    if not folder:
        return None
    for name in MODELS[MODELS.index(wish) if wish in MODELS else 1 :]:
        path = Path(folder, "rembg", f"{name}.onnx")
        if path.is_file():
            return name, path
    return None


def subject_mask(image: Image.Image) -> Image.Image | None:
    """Return the subject's mask (mode L, of the size of RGB `image`), or None where rembg or its model is missing.

    None, too, where it fails: the reason is in the log.
    """
    chosen = chosen_model() if find_spec("rembg") is not None else None
    if chosen is None:
        return None
    try:
        mask = import_module("rembg").remove(image, session=_session(*chosen), only_mask=True)
    except Exception:
        # Whatever goes wrong in there (a damaged model, too little memory), the plain-background rule remains.
        _log.exception("rembg failed with %s", chosen[0])
        return None
    return mask.convert("L").resize(image.size) if isinstance(mask, Image.Image) else None


@lru_cache(maxsize=1)
def _session(name: str, path: Path) -> Any:
    """Return rembg's session for the model `name` in the file `path`, whatever rembg itself would look for or fetch."""
    runtime = import_module("onnxruntime")
    kind = next(session for session in import_module("rembg.sessions").sessions_class if session.name() == name)
    local = type(kind.__name__, (kind,), {"download_models": classmethod(lambda *_, **__: str(path))})
    options = runtime.SessionOptions()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():
        options.intra_op_num_threads = options.inter_op_num_threads = int(threads)
    return local(name, options)
