# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server's tests may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.workers.launch import current_launch
from tests.engine.conftest import nobodys_account
from tests.server.harness import ROOT, Served

__all__ = ["drafting", "nobodys_account", "served"]


def pytest_configure(config: pytest.Config) -> None:
    """Keep quiet about Ray's use of its libraries."""
    config.addinivalue_line("filterwarnings", "ignore::pydantic.PydanticDeprecatedSince20")


@pytest.fixture(scope="session")
def drafting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with one token and the real draft engine, which is warm from its second job on."""
    with Served(tmp_path_factory.mktemp("drafting") / "root", current_launch(ROOT), tokens=True) as drafting:
        yield drafting


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with one token, for tests that leave it as they found it."""
    with Served(tmp_path_factory.mktemp("served") / "root", tokens=True, body_bytes=1 << 20, body_s=2.0) as served:
        yield served
