# SPDX-License-Identifier: GPL-3.0-or-later
"""Who would be asked for what an environment still lacks."""

from __future__ import annotations

from ..errors import EspalierError
from .lock import REGISTRY
from .places import Places
from .profiles import WEIGHTS, profile_of
from .sources import Sources
from .status import lock_for
from .wheelhouse import find_wheel


def contacts(profile: str, places: Places, sources: Sources) -> tuple[str, ...]:
    """Return the addresses from which the rest of `profile` would be fetched, each once; none where all is here.

    In milliseconds: what is here is judged by name and size. Where the weights are all here, those who offer them are
    returned, for a repair may find that some are damaged.
    """
    if profile == WEIGHTS:
        return _of_weights(places, sources)
    try:
        lock = lock_for(profile_of(profile), places)
    except EspalierError:  # nothing can be fetched for it
        return ()
    lacking = [package for package in lock.packages if find_wheel(package, places) is None]
    asked = [package for package in lacking if package.locked or sources.allow_unlocked]
    return tuple(dict.fromkeys(sources.index_url if each.source == REGISTRY else each.source for each in asked))


def _of_weights(places: Places, sources: Sources) -> tuple[str, ...]:
    from .weights import environments
    from .weights_catalogue import rembg_url, wanted
    from .weights_index import missing, read_index

    files = wanted(tuple(environments(places)))
    lacking = missing(read_index(places), files) or files
    return tuple(dict.fromkeys(sources.hub_url if file.repo else rembg_url() for file in lacking))
