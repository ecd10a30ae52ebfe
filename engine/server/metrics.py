# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_REQUEST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
_JOB_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "espalier_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self.request_seconds = Histogram(
            "espalier_request_seconds", "Time to answer.", ("route",), buckets=_REQUEST_S, registry=self.registry
        )
        self.created = Counter("espalier_jobs_created", "Jobs accepted.", registry=self.registry)
        self.finished = Counter("espalier_jobs_finished", "Jobs at an end.", ("state",), registry=self.registry)
        self.job_seconds = Histogram(
            "espalier_job_seconds", "Time at work on a finished asset.", buckets=_JOB_S, registry=self.registry
        )

    def watch(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Show how many jobs there are in each state, as `counts` says at the time."""
        self.registry.register(_Jobs(counts))

    def text(self) -> bytes:
        """Return all of it."""
        return generate_latest(self.registry)


class _Jobs(Collector):
    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the family without asking for its values, which are not there before the queue is open."""
        return [GaugeMetricFamily("espalier_jobs", "Jobs by state.", labels=["state"])]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the jobs in each state."""
        family = GaugeMetricFamily("espalier_jobs", "Jobs by state.", labels=["state"])
        for state, count in self._counts().items():
            family.add_metric([state], count)
        return [family]
