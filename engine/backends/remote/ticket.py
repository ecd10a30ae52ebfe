# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ledger keeps of a request that the server has taken: enough to come for the asset after any crash."""

from __future__ import annotations

from dataclasses import dataclass

from ...addresses import at_origin
from .client import job_path

_LINK = "asset:"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A job by its id, and by its path where that is not the documented one; or, without a job, where its asset is."""

    job_id: str = ""
    path: str = ""
    link: str = ""

    @property
    def text(self) -> str:
        """The ticket as the ledger keeps it: the plain id wherever that says all."""
        if self.link:
            return f"{_LINK}{self.link}"
        return f"{self.job_id}\t{self.path}" if self.path else self.job_id

    @classmethod
    def parse(cls, text: str) -> Ticket:
        """Return the ticket whose `text` the ledger kept."""
        if text.startswith(_LINK):
            return cls(link=text.removeprefix(_LINK))
        job_id, _, path = text.partition("\t")
        return cls(job_id, path)

    @classmethod
    def of_job(cls, job_id: str, path: str, base: str) -> Ticket:
        """Return the ticket of the job that the server at `base` has under `job_id` and says is polled at `path`."""
        usual = base + job_path(job_id)
        return cls(job_id, "" if not path or at_origin(base, path) == usual else path)

    def url(self, base: str) -> str:
        """Return where the job is polled."""
        return at_origin(base, self.path) if self.path else base + job_path(self.job_id)
