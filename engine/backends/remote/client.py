# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's API for one job: creates at most once, polls patiently, cancels as well as it can."""

from __future__ import annotations

import threading
from collections.abc import Callable
from urllib.parse import quote

import requests

from ...errors import EspalierError
from ...network import why
from ...progress import Cancelled
from .account import Account
from .bucket import CREATE, POLL, Bucket
from .exchange import BROKEN, Limits, Line, Reply, attend
from .faults import refused, unreachable
from .payload import Body
from .reading import Told, parse, read_created, read_error, read_job
from .schedule import Circuit, Clock, backoff, retry_after, wait

CREATE_PATH = "/v1/3d/generations"
_UNSENT_TRIES = 5
_TRANSIENT = (408, 425, 429)
_FIRM_TRIES = 3
BODY_LIMIT = 65_536
"""Most bytes of an error answer that are read for what it says."""
_DECIDED = ("model_unavailable", "model_not_found", "rate_limit_exceeded", "insufficient_credits", "invalid_api_key")
"""Codes that say of a creation, whatever the status, that the server has not taken it."""

Note = Callable[[str], None]


class Lost(Exception):
    """A creation was sent, and nobody knows what became of it. The argument says why."""


class Client:
    """Speaks for one job. `check` raises once nobody wants the result; `note` takes a sentence for the person."""

    def __init__(
        self,
        account: Account,
        bucket: Bucket,
        circuit: Circuit,
        clock: Clock,
        limits: Limits,
        check: Callable[[], None],
        note: Note = lambda _words: None,
    ) -> None:
        self.account, self.clock, self.limits, self.check = account, clock, limits, check
        self._bucket, self._circuit, self._note = bucket, circuit, note
        self.line = Line(account, limits)

    def close(self) -> None:
        """Close the connections."""
        self.line.close()

    def url(self, path: str) -> str:
        """Return the address of a path of the API, which begins with /v1/."""
        return self.account.base + path

    def create(
        self,
        data: bytes,
        before: Callable[[], None],
        untaken: Callable[[], None],
        withdrawn: Callable[[], None] = lambda: None,
    ) -> Reply:
        """Send a creation, once, and return the answer, whatever its status.

        `before` is called each time just before it is sent, `untaken` once it is certain that the server has not taken
        it after all, and then `withdrawn` if it is to be repeated. It is repeated only where not a byte of it was sent,
        or where the server has answered that it comes too early. A server that has worked before is waited for.

        Raises Lost, Cancelled, or EspalierError where nothing was taken by the server.
        """
        began, attempt = self.clock.now(), 0
        while True:
            patient = self._circuit.has_worked and self.clock.now() - began <= self.limits.patience_s
            if (left := self._circuit.left()) > 0.0:
                if patient:
                    self._tell_of_circuit(left)
                    wait(self.clock, left, self.check)
                    continue
                raise EspalierError(
                    "remote_circuit_open",
                    host=self.account.host,
                    failures=self._circuit.failures,
                    seconds=max(round(left), 1),
                )
            self._note(f"Waiting for a place among the requests to {self.account.host}")
            grant = self._bucket.acquire(CREATE, self.check)
            body = Body(data)
            try:
                self._note(f"Sending the image to {self.account.host}")
                before()
                reply = self._send(body)
            except Cancelled:
                if body.abandon():
                    untaken()
                raise
            except BROKEN as error:
                self._circuit.failed()
                attempt += 1
                if not body.abandon():
                    raise Lost(why(error)) from error
                untaken()
                if (attempt >= _UNSENT_TRIES and not patient) or _is_firm(error):
                    raise unreachable(error, self.account) from error
                delay = backoff(attempt)
            else:
                asked = retry_after(reply.headers.get("Retry-After"))
                self._circuit.failed() if reply.status >= 500 else self._circuit.succeeded()
                again = reply.status == 429 or (asked is not None and reply.status == 503 and not is_ambiguous(reply))
                if not again or self.clock.now() - began > self.limits.patience_s:
                    return reply
                untaken()
                delay = backoff(attempt + 2) if asked is None else asked
                self._pause(reply, delay)
                attempt += 1
            finally:
                self._bucket.done(grant)
            withdrawn()
            self._note(f"{self.account.host} takes no requests for now; trying again in {delay:.0f} s")
            wait(self.clock, delay, self.check)

    def _send(self, body: Body) -> Reply:
        line = Line(self.account, self.limits)

        def work(stop: threading.Event) -> Reply:
            reply = line.exchange(
                "POST",
                self.url(CREATE_PATH),
                body=body,
                headers={"Content-Type": "application/json"},
                fresh=True,
                read_s=self.limits.create_s,
            )
            if stop.is_set():
                self._forget(reply)
            return reply

        return attend(work, self.check, self.limits.create_s)

    def _forget(self, reply: Reply) -> None:
        """Cancel what was created after the person had given it up."""
        if 200 <= reply.status < 300:
            try:
                created = read_created(parse(reply.body))
            except ValueError:
                return
            if created.job_id:
                self.cancel(self.url(job_path(created.job_id)))

    def get(self, url: str, since: float | None = None, patience_s: float | None = None, job: str = "") -> Reply:
        """Return the answer to a GET of the API; failures on the way and of the server are tried again.

        `since` is when the request became due, `job` who asks (see Bucket). Any status may be in the answer but
        those that pass.

        Raises EspalierError when the patience is at an end, or Cancelled.
        """
        patience = self.limits.patience_s if patience_s is None else patience_s
        began, attempt, firm = self.clock.now(), 0, 0
        while True:
            if (left := self._circuit.left()) > 0.0 and self.clock.now() - began <= patience:
                self._tell_of_circuit(left)
                wait(self.clock, min(left, patience), self.check)
                continue
            grant = self._bucket.acquire(POLL, self.check, since, job)
            failure, delay = None, None
            try:
                reply = attend(lambda _stop: self.line.exchange("GET", url), self.check, self.limits.answer_s)
            except BROKEN as error:
                self.line.drop()
                self._circuit.failed()
                failure = unreachable(error, self.account)
                firm += _is_firm(error)
            else:
                if reply.status < 500 and reply.status not in _TRANSIENT:
                    self._circuit.succeeded()
                    return reply
                failure = refused(reply.status, told(reply), self.account)
                delay = retry_after(reply.headers.get("Retry-After"))
                if reply.status >= 500:
                    self._circuit.failed()
                if reply.status == 429:
                    delay = backoff(attempt + 2) if delay is None else delay
                    self._pause(reply, delay)
            finally:
                self._bucket.done(grant)
            if self.clock.now() - began > patience or firm >= _FIRM_TRIES:
                raise failure
            delay = backoff(attempt) if delay is None else delay
            if (left := self._circuit.rest) > 0.0:
                delay = max(delay, left)
                self._tell_of_circuit(delay)
            else:
                self._note(f"{failure.cause} Trying again")
            wait(self.clock, delay, self.check)
            attempt += 1

    def _tell_of_circuit(self, seconds: float) -> None:
        failures = self._circuit.failures
        self._note(f"{self.account.host} failed {failures} times in a row; trying again in {seconds:.0f} s")

    def _pause(self, reply: Reply, seconds: float) -> None:
        if reply.status == 429:
            self._bucket.pause(seconds)

    def cancel(self, url: str) -> bool:
        """Ask the server to stop the job that is polled at `url`; tell whether it says that it did. Never raises."""
        for method, target in (("DELETE", url), ("POST", f"{url}/cancel")):
            grant = self._bucket.take()
            line = Line(self.account, self.limits)
            try:
                reply = line.exchange(method, target, fresh=True, read_s=self.limits.cancel_s)
            except EspalierError:
                return False
            except BROKEN:
                return False
            finally:
                self._bucket.done(grant)
            if 200 <= reply.status < 300:
                return _stopped(reply)
            if reply.status not in (404, 405, 501):
                return False
        return False


def job_path(job_id: str) -> str:
    """Return the documented path of a job."""
    return f"/v1/jobs/{quote(job_id, safe='')}"


def told(reply: Reply) -> Told:
    """Return what an error answer says."""
    try:
        return read_error(parse(reply.body[:BODY_LIMIT]), "")
    except ValueError:
        return read_error(None, reply.body[:BODY_LIMIT].decode("utf-8", "replace"))


def is_ambiguous(reply: Reply) -> bool:
    """Tell whether an error answer to a creation leaves open whether the server has taken it.

    Who answers with such a status, a gateway or the server in the midst of its work, cannot be seen from outside.
    """
    return (reply.status >= 500 or reply.status in (408, 499)) and told(reply).code.lower() not in _DECIDED


def _stopped(reply: Reply) -> bool:
    """Tell whether the answer to a cancel leaves room for an asset: it may say that the job was done already."""
    try:
        return read_job(parse(reply.body)).phase != "done"
    except ValueError:
        return True


def _is_firm(error: Exception) -> bool:
    """Tell whether trying again soon would end alike: the server's identity, an address that is none."""
    if isinstance(error, requests.exceptions.SSLError):
        return "certificate" in repr(error).lower() or "WRONG_VERSION" in repr(error)
    return isinstance(error, ValueError) and not isinstance(error, OSError)
