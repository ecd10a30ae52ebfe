# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a job whose outcome is not: told in the panel, and looked up in the account's usage."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import bpy

from ..engine.errors import EspalierError
from ..engine.jobs.job import Job
from . import pricing, session
from .inquiry import USAGE
from .languages import say, sentences
from .text import listed

EARLIER_S = 120.0
"""How much earlier than it was sent here a request may be listed: the clocks of two machines differ."""
LATER_S = 900.0
"""How long after it was handed over a job may still have been sent: it had its turn to wait for."""
MOST_LISTED = 3


def known(job: Job) -> list[str]:
    """Return what is known of a job whose outcome is not, in sentences. Quick, for drawing."""
    lines = [sentences(job.error)[0]] if job.error is not None else []
    price = pricing.price_of(job.request)
    if job.started is not None:
        moment = _moment(job.started)
        if price:
            cost = pricing.dollars(price)
            lines.append(say("It was sent {moment}; it costs {price} if it was accepted.", moment=moment, price=cost))
        else:
            lines.append(say("It was sent {moment}.", moment=moment))
    inquiry = session.session.inquiries.of(USAGE)
    if inquiry.waiting:
        lines.append(say("The account's usage is being looked up."))
    elif inquiry.error is not None:
        lines.append(sentences(inquiry.error)[0])
    elif inquiry.answer:
        lines.append(_listed(inquiry.answer, job))
    return lines


def found(job: Job) -> str:
    """Return what the server calls the one request of its usage list that can be this job; empty if it is not clear.

    It is a request from the time when the job was sent, which belongs to no other job that is known here.
    """
    events = session.session.inquiries.of(USAGE).answer.get("events", ())
    known = {other.remote_id.partition("\t")[0] for other in session.known_jobs()}
    known |= {str(other.result.get("facts", {}).get("remote_id", "")) for other in session.known_jobs()}
    names = {event["job_id"] for event in _since(events, job, LATER_S) if event["job_id"]} - known
    return names.pop() if len(names) == 1 else ""


def _since(events: Sequence[Mapping[str, Any]], job: Job, for_s: float = math.inf) -> list[Mapping[str, Any]]:
    """Return the events from shortly before the job was sent until `for_s` seconds after it."""
    sent = job.started or 0.0
    return [event for event in events if -EARLIER_S <= (event["time"] or 0.0) - sent <= for_s]


def _listed(usage: Mapping[str, Any], job: Job) -> str:
    """Return what the account's usage lists from shortly before the job was sent."""
    entries = usage["events"]
    events = _since(entries, job)
    if entries and all(event["time"] is None for event in entries):
        return say("The account's usage has {count} entries without a time.", count=len(entries))
    if not events:
        return say("The account's usage lists nothing since then, so it was probably not accepted.")
    lines = listed([_entry(event) for event in events[:MOST_LISTED]])
    if len(events) > MOST_LISTED:
        more = len(events) - MOST_LISTED
        return say("The account's usage lists since then: {entries} and {count} more.", entries=lines, count=more)
    return say("The account's usage lists since then: {entries}.", entries=lines)


def _entry(event: Mapping[str, Any]) -> str:
    price = pricing.dollars(event["cost_usd"] or 0.0)
    return say("{price} {moment}", price=price, moment=_moment(event["time"]))


def _moment(seconds: float) -> str:
    """Return a time (seconds since 1970) as a person here tells it: the hour, and the day unless it is today."""
    then, now = time.localtime(seconds), time.localtime()
    today = (then.tm_year, then.tm_yday) == (now.tm_year, now.tm_yday)
    clock = time.strftime("%H:%M", then)
    if today:
        return say("at {time}", time=clock)
    return say("on {date} at {time}", date=time.strftime("%Y-%m-%d", then), time=clock)


class ESPALIER_OT_check_usage(bpy.types.Operator):
    """Ask the server what it has billed to the account since this was sent. Nothing is charged for it"""

    bl_idname = "espalier.check_usage"
    bl_label = "Check Usage"
    # Not undoable: it changes nothing.
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Wait for the answer to the last question."""
        return session.may_ask(cls, USAGE)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Ask and return at once; the panel shows the answer."""
        try:
            session.ask(USAGE)
        except EspalierError as error:
            return session.refuse(self, error)
        return {"FINISHED"}
