# SPDX-License-Identifier: GPL-3.0-or-later
"""This server behind the scripted one of the remote engine's tests: that one does the harm, this one answers.

`ServedApi` is used as `tests.support.api_server.ApiServer` is. Faults of the network happen in front; what is asked
reaches the server whole, and its answers leave it as they are. What only a server of another kind does is skipped.
"""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.server.harness import Served
from tests.support.api_book import RemoteJob
from tests.support.api_faults import KINDS, Fault
from tests.support.api_http import Answer, Handler
from tests.support.api_server import ApiServer

_KEPT = ("content-type", "etag", "content-range", "accept-ranges", "retry-after", "location")


class Front(Handler):
    """Passes each request on."""

    def _act(
        self, api: Any, foreign: bool, at: str, path: str, headers: dict[str, str], body: bytes, fault: Fault | None
    ) -> Answer:
        if foreign and at != "asset":
            return Answer(404)
        if fault and fault.kind == "no_range":
            headers.pop("range", None)
        connection = http.client.HTTPConnection("127.0.0.1", api.inner.port, timeout=60)
        try:
            # Addresses of assets begin with the host that a request names.
            passed = {**headers, "host": api.foreign_url.removeprefix("http://"), "connection": "close"}
            connection.request(self.command, self.path, body or None, passed)
            told = connection.getresponse()
            data = told.read()
        finally:
            connection.close()
        answer = Answer(told.status, data, {k.title(): v for k, v in told.getheaders() if k.lower() in _KEPT})
        if at == "create" and told.status == 202:
            job = json.loads(data)["job_id"]
            api.book.jobs[job] = RemoteJob(job, json.loads(body), api.clock.now(), api.takes_s, 0.0)
        if at == "cancel" and told.status == 200:
            api.book.jobs[path.split("/")[3]].cancelled = json.loads(data)["status"] == "cancelled"
        if fault and fault.kind in ("cut", "close"):
            answer.stop, answer.reset = int(len(data) * float(fault.value)), fault.kind == "cut"
        return answer


class ServedApi(ApiServer):
    """An ApiServer whose answers are those of `inner`, which all of them share."""

    inner: ClassVar[Served]
    takes: ClassVar[Path]

    def __init__(self, form: Any = "documented", *, job_s: Any = 1.0, scale: float = 1.0, **options: Any) -> None:
        faults = list(options.get("faults", ()))
        can = {*KINDS["any"], "cut", "close", "no_range"}
        if form != "documented" or callable(job_s) or {*options} - {"faults", "latency_s"}:
            pytest.skip("a server of another kind")
        if any(fault.kind not in can for fault in faults):
            pytest.skip("a fault inside another server")
        self.takes.write_text(str(job_s / scale))
        self.takes_s = job_s
        super().__init__(form, job_s=job_s, scale=scale, key=self.inner.token, **options)
        self.main.RequestHandlerClass = self.foreign.RequestHandlerClass = Front

    def back(self) -> None:
        """Take connections again."""
        super().back()
        self.main.RequestHandlerClass = Front

    def close(self) -> None:
        """End, with all jobs."""
        super().close()
        for job in self.book.jobs:
            self.inner.ask("DELETE", f"/v1/jobs/{job}")
