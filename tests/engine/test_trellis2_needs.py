# SPDX-License-Identifier: GPL-3.0-or-later
"""What a memory plan wants is known without PyTorch and without the weights, for a person who has not begun yet."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.backends.trellis2.checkpoint import STAGE_MODELS
from engine.backends.trellis2.needs import GIB, Published, choose, need_gib, published_s
from engine.backends.trellis2.plans import ON_HOST, PLANS
from engine.parameters import PIPELINE_OF_RESOLUTION
from tests.engine.queue_harness import ROOT

PIPELINES = tuple(PIPELINE_OF_RESOLUTION.values())


def test_the_published_weights_are_as_large_as_published() -> None:
    names = {name for kind in STAGE_MODELS.values() for names in kind.values() for name in names}
    assert Published().bytes_of(tuple(names)) == pytest.approx(15.0e9, rel=0.02)


def test_a_larger_resolution_and_a_faster_plan_want_more() -> None:
    wanted = {(plan.name, kind): need_gib(plan, Published(), kind) for plan in PLANS for kind in PIPELINES}
    for plan in PLANS:
        needs = [wanted[plan.name, kind] for kind in PIPELINES]
        assert needs == sorted(needs)
        assert len(set(needs)) == len(needs)
    for kind in PIPELINES:
        needs = [wanted[plan.name, kind] for plan in PLANS]
        assert needs == sorted(needs, reverse=True)
    assert 20 < wanted["resident", "1024_cascade"] < 24, "upstream asks for 24 GB"
    assert 6 < wanted["lean", "1024_cascade"] < 12, "it runs on cards of 12 GB"


@pytest.mark.parametrize("kind", PIPELINES)
def test_the_fastest_plan_that_fits_is_chosen(kind: str) -> None:
    for plan in PLANS:
        just = int(need_gib(plan, Published(), kind) * GIB) + 1
        assert choose(just, Published(), kind)[0] is plan
        assert choose(just - 2, Published(), kind)[0] is not plan or plan is PLANS[-1]
    assert choose(0, Published(), kind, "resident")[0].name == "resident"


def test_published_times() -> None:
    assert published_s("1024_cascade", PLANS[0]) == 17.0
    assert [published_s("512", plan) for plan in PLANS] == sorted(published_s("512", plan) or 0.0 for plan in PLANS)
    assert published_s("512", ON_HOST) is None


def test_nothing_of_it_needs_pytorch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['numpy'] = None\n"
        "import engine.backends.trellis2.needs, engine.backends.trellis2.doctor"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
