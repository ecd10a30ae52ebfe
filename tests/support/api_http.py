# SPDX-License-Identifier: GPL-3.0-or-later
"""How a test server answers one request, and how it spoils the answer."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import urllib.parse
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from tests.support import api_assets
from tests.support.api_book import Refusal, RemoteJob
from tests.support.api_faults import Fault
from tests.support.api_forms import error_body, place, with_asset

if TYPE_CHECKING:
    from tests.support.api_server import ApiServer

GLB = "model/gltf-binary"
BLOCK = 1 << 16


@dataclass
class Answer:
    """Status, headers and body. `length` is what Content-Length tells, where that is not the truth.

    `stop` is after how many bytes the connection ends, in good order or, with `reset`, not.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    stop: int | None = None
    reset: bool = False
    pause_s: float = 0.0
    chunked: bool = False
    zeros: int = 0


class Dropped(Exception):
    """The connection is to be reset."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "loopback"
    sys_version = ""
    timeout = 60

    def log_message(self, *args: Any) -> None:
        """Write nothing: the server remembers all requests."""

    def do_GET(self) -> None:
        """Answer, whatever the verb."""
        api: ApiServer = self.server.api  # type: ignore[attr-defined]
        foreign: bool = self.server.foreign  # type: ignore[attr-defined]
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = urllib.parse.urlsplit(self.path).path
        at = place_of(self.command, path)
        fault = api.script.next(at) if at and not (foreign and at != "asset") else None
        seen = api.note(foreign, self.command, self.path, headers)
        try:
            if api.latency_s:
                api.closing.wait(api.latency_s)
            answer = self._answer(api, foreign, at, path, headers, fault)
            seen.status = answer.status
            self._send(api, answer)
        except Dropped:
            seen.status = seen.status or -1
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    do_POST = do_DELETE = do_HEAD = do_PUT = do_GET

    def _answer(
        self, api: ApiServer, foreign: bool, at: str, path: str, headers: dict[str, str], fault: Fault | None
    ) -> Answer:
        kind = fault.kind if fault else ""
        if kind == "reset_before":
            raise Dropped
        length = int(headers.get("content-length", 0))
        if kind == "reset_during":
            self.rfile.read(length // 2)
            raise Dropped
        body = self.rfile.read(length)
        if kind == "reset_after":
            raise Dropped
        if fault and kind == "stall" and api.closing.wait(float(fault.value)):
            raise Dropped
        if fault and kind == "status":
            return _refuse(api, Refusal(int(fault.value), f"scripted_{fault.value:.0f}", "It was told to."), fault)
        if fault and kind == "redirect":
            target = {"foreign": api.foreign_url + self.path, "self": api.url + self.path}
            return Answer(307, headers={"Location": target.get(str(fault.value), str(fault.value))})
        try:
            answer = self._act(api, foreign, at, path, headers, body, fault)
        except Refusal as refusal:
            answer = _refuse(api, refusal, fault)
        return self._spoil(api, answer, fault) if fault else answer

    def _act(
        self, api: ApiServer, foreign: bool, at: str, path: str, headers: dict[str, str], body: bytes,
        fault: Fault | None,
    ) -> Answer:  # fmt: skip
        book = api.book
        if at == "asset":
            return asset_answer(api, self.path, headers, fault)
        if at == "health":
            return _json(200, {"status": "ok"})
        if not at or foreign:
            return _json(404, {"detail": "Not Found"})
        book.authorize(headers)
        book.admit(at)
        if at == "create":
            return _create(api, body)
        if at == "model":
            return _json(200, book.model())
        if at == "usage":
            if not api.form.usage:
                return _json(404, {"detail": "Not Found"})
            return _json(200, book.usage())
        elsewhere = path.startswith("/v1/async/")
        name = path.split("/")[3]
        if at == "cancel":
            if api.form.cancel != ("delete" if self.command == "DELETE" else "post"):
                return _json(404 if self.command == "POST" else 405, {"detail": "Not Found"})
            job = book.find(name)
            job.cancelled = job.state(api.clock.now()) != "completed"
            return _json(200, {"job_id": job.id, "status": job.state(api.clock.now())})
        if elsewhere != (api.form.poll == "elsewhere"):
            raise Refusal(404, "job_not_found", "Job not found or expired.")
        job = book.find(name)
        if fault:
            _spoil_job(job, fault)
            book.find(name)
        return _json(200, status_body(api, job))

    def _spoil(self, api: ApiServer, answer: Answer, fault: Fault) -> Answer:
        kind, value = fault.kind, fault.value
        if kind == "reset_answered":
            raise Dropped
        if kind == "stall_answered":
            api.closing.wait(float(value))
            raise Dropped
        if kind == "not_http":
            self.wfile.write(b"\x16\x03\x01 this is not an answer\r\n\r\n")
            raise Dropped
        if kind == "cut_answer":
            answer.stop, answer.reset = len(answer.body) // 2, True
        elif kind == "slow":
            answer.pause_s = float(value)
        elif kind == "garbage":
            answer = Answer(200, b"<html><body>Welcome to the hotel's network</body></html>")
            answer.headers["Content-Type"] = "text/html"
        elif kind == "empty":
            answer.body = b""
        elif kind == "gzip":
            answer.body = gzip.compress(answer.body, 1)
            answer.headers["Content-Encoding"] = "gzip"
        elif kind == "chunked":
            answer.chunked = True
        return answer

    def _send(self, api: ApiServer, answer: Answer) -> None:
        total = len(answer.body) + answer.zeros
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(total if answer.length is None else answer.length))
        self.end_headers()
        if self.command == "HEAD":
            return
        stop = total if answer.stop is None else answer.stop
        for block in _blocks(answer, stop):
            for part in (block[k : k + 1] for k in range(len(block))) if answer.pause_s else (block,):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if answer.chunked else part)
                if answer.pause_s and api.closing.wait(answer.pause_s):
                    raise Dropped
        if answer.reset:
            raise Dropped
        if answer.chunked and stop == total:
            self.wfile.write(b"0\r\n\r\n")
        elif stop != total or answer.length not in (None, total):
            self.close_connection = True


def _blocks(answer: Answer, stop: int) -> Any:
    for start in range(0, min(stop, len(answer.body)), BLOCK):
        yield answer.body[start : min(start + BLOCK, stop)]
    zeros = bytes(BLOCK)
    left = max(stop - len(answer.body), 0)
    while left > 0:
        yield zeros[: min(left, BLOCK)]
        left -= BLOCK


def place_of(verb: str, path: str) -> str:
    """Return where a request goes, as faults name it; "" for nowhere."""
    parts = path.strip("/").split("/")
    if parts[0] == "assets":
        return "asset"
    if parts[:2] == ["v1", "jobs"] and len(parts) in (3, 4):
        if verb == "DELETE" or (verb == "POST" and parts[3:] == ["cancel"]):
            return "cancel"
        return "poll" if verb == "GET" and len(parts) == 3 else ""
    if parts[:2] == ["v1", "async"]:
        return "poll" if verb == "GET" else ""
    return {
        ("POST", "/v1/3d/generations"): "create",
        ("GET", "/v1/models/trellis-2-4b"): "model",
        ("GET", "/v1/account/usage"): "usage",
        ("GET", "/health"): "health",
    }.get((verb, path), "")


def _json(status: int, body: Any) -> Answer:
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _refuse(api: ApiServer, refusal: Refusal, fault: Fault | None) -> Answer:
    body = error_body(api.form, refusal.code, refusal.message)
    answer = _json(refusal.status, body)
    if isinstance(body, str):
        answer = Answer(refusal.status, body.encode(), {"Content-Type": "text/plain"})
    if fault and fault.retry_after:
        answer.headers["Retry-After"] = fault.retry_after
    return answer


def _create(api: ApiServer, body: bytes) -> Answer:
    form = api.form
    try:
        payload = json.loads(body)
    except ValueError:
        raise Refusal(400, "invalid_request", "The body is not JSON.") from None
    job = api.book.create(payload)
    if form.synchronous or form.wait:
        while job.state(api.clock.now()) not in ("completed", "failed") and not api.closing.wait(0.005):
            pass
        told = status_body(api, job)
        if form.synchronous:
            told = {name: value for name, value in told.items() if name not in ("job_id", "id", "poll_url", "status")}
        return _json(form.created, told)
    told = {"status": form.state("queued"), "created_at": api.clock.stamp(job.created)}
    place(told, form.id, job.id)
    path = f"/v1/async/{job.id}" if form.poll == "elsewhere" else f"/v1/jobs/{job.id}"
    address = {"absolute": api.url + path, "foreign": api.foreign_url + path, "none": ""}.get(form.poll, path)
    if address:
        told["poll_url"] = address
    return _json(form.created, told)


def status_body(api: ApiServer, job: RemoteJob) -> dict[str, Any]:
    """Return what a poll of `job` is answered."""
    form, now = api.form, api.clock.now()
    state = job.state(now)
    job.polls += 1
    told: dict[str, Any] = {
        "status": form.state(state), "created_at": api.clock.stamp(job.created), "completed_at": None, "result": None,
        "error": None,
    }  # fmt: skip
    place(told, "id" if form.id == "id" else "job_id", job.id)
    if form.progress != "none":
        told["progress"] = round(job.fraction(now) * (100 if form.progress == "percent" else 1), 3)
    if state == "completed":
        job.done_polls += 1
        told["completed_at"] = api.clock.stamp(job.created + job.takes_s)
        del told["result"]
        origin = {"relative": "", "own": api.url}.get(form.link, api.foreign_url)
        inside = job.payload.get("response_format") == "b64_json"
        with_asset(form, told, origin + api.book.link(job), api.glb if inside else None)
    elif state in ("failed", "cancelled"):
        code = job.failed or state
        words = f"The job was not done: {code}"
        error = {"object": {"message": words, "type": "server_error", "code": code}, "string": words}
        told["error"] = error.get(form.job_error)
    return told


def _spoil_job(job: RemoteJob, fault: Fault) -> None:
    if fault.kind == "lost":
        job.lost = True
    elif fault.kind == "failed":
        job.failed = str(fault.value or "upstream_error")


def asset_answer(api: ApiServer, target: str, headers: dict[str, str], fault: Fault | None) -> Answer:
    """Answer for a signed address, whole or in part, as object stores do."""
    parts = urllib.parse.urlsplit(target)
    query = dict(urllib.parse.parse_qsl(parts.query))
    job = api.book.jobs.get(parts.path.split("/")[-1].removesuffix(".glb"))
    if fault and fault.kind == "expire":
        api.book.expire()
    good = query.get("signature") == f"s{api.book.link_serial}"
    if job is None or not good or float(query.get("expires", 0)) < api.clock.now():
        return Answer(403, b"<Error><Code>AccessDenied</Code></Error>", {"Content-Type": "application/xml"})
    if fault and fault.kind == "changed":
        api.changed = True
    glb = api_assets.finished_asset(seed=1) if api.changed else api.glb
    glb, known = spoilt_file(glb, fault)
    etag = '"two"' if api.changed else '"one"'
    answer = Answer(200, glb, {"Content-Type": GLB, "ETag": etag, "Accept-Ranges": "bytes"})
    if fault and fault.kind.startswith("huge"):
        return _huge(answer, fault)
    wanted = headers.get("range", "")
    if fault and fault.kind == "refuse_range" and wanted:
        return Answer(416, b"", {"Content-Range": f"bytes */{len(glb)}"})
    skip_range = (fault and fault.kind == "no_range") or headers.get("if-range", etag) != etag
    if wanted.startswith("bytes=") and not skip_range:
        first, _, last = wanted[6:].partition("-")
        start, end = int(first or 0), int(last or len(glb) - 1)
        if start >= len(glb):
            return Answer(416, b"", {"Content-Range": f"bytes */{len(glb)}"})
        if fault and fault.kind == "wrong_range":
            start = max(start - 100, 0)
        answer.status, answer.body = 206, glb[start : end + 1]
        answer.headers["Content-Range"] = f"bytes {start}-{end}/{len(glb)}"
    if fault and fault.kind in ("cut", "close"):
        answer.stop, answer.reset = int(len(answer.body) * float(fault.value)), fault.kind == "cut"
    elif fault and fault.kind in ("longer", "shorter"):
        answer.length = len(answer.body) + int(fault.value) * (1 if fault.kind == "longer" else -1)
    elif not known:
        job.delivered += 1
    return answer


def spoilt_file(glb: bytes, fault: Fault | None) -> tuple[bytes, bool]:
    """Return the file to send, and whether it is not the asset."""
    kind, value = (fault.kind, float(fault.value or 0)) if fault and not isinstance(fault.value, str) else ("", 0.0)
    if kind == "declared":
        return api_assets.declaring(glb, len(glb) + int(value or 1)), True
    if kind == "truncated":
        return glb[: int(len(glb) * value)], True
    if kind == "corrupt":
        return api_assets.corrupt(glb), True
    if kind == "picture":
        return api_assets.picture(), True
    return glb, False


def _huge(answer: Answer, fault: Fault) -> Answer:
    size = int(fault.value)
    head = api_assets.declaring(answer.body, size)[:20]
    if fault.kind == "huge_gzip":
        return Answer(200, bomb(head, size), {**answer.headers, "Content-Encoding": "gzip"})
    return Answer(200, head, answer.headers, zeros=size - 20, chunked=fault.kind == "huge_chunked")


@cache
def bomb(head: bytes, size: int) -> bytes:
    """Return `head` and zeros, `size` bytes in all, compressed."""
    return gzip.compress(head + bytes(size - len(head)), 1)
