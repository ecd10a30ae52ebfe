# SPDX-License-Identifier: GPL-3.0-or-later
"""A line of JSON for each thing that happens. Keys, signatures, bodies and images' addresses are never in one."""

from __future__ import annotations

import json
import logging
import sys
from functools import cache
from typing import Any

import structlog


def set_up(level: int = logging.INFO) -> None:
    """Write all logs, the libraries' own among them, to standard error as JSON."""
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render = structlog.processors.JSONRenderer(serializer=_ascii)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _made_once.cache_clear()
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=render, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _ascii(value: Any, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=True, default=repr)


def log() -> Any:
    """Return the log."""
    return _made_once() if structlog.is_configured() else structlog.get_logger("espalier")


@cache
def _made_once() -> Any:
    return structlog.get_logger("espalier").bind()
