# SPDX-License-Identifier: GPL-3.0-or-later
"""What the application asks of whoever has the jobs: a desk of its own, or that of a fleet."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Protocol

from ..jobs.job import Job
from .order import Order


class Service(Protocol):
    """Takes orders of tokens and tells them of their own jobs; see `desk.Desk` for what each raises."""

    draining: bool

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def admit(self, owner: str) -> None: ...

    async def order(self, owner: str, order: Order) -> Job: ...

    async def job(self, owner: str, job_id: str) -> Job: ...

    async def jobs(self, owner: str) -> list[Job]: ...

    async def cancel(self, owner: str, job_id: str) -> Job: ...

    async def asset(self, job_id: str) -> Path: ...

    def expires(self, job: Job) -> float: ...

    async def recount(self) -> None: ...

    def counts(self) -> Counter[str]: ...
