# SPDX-License-Identifier: GPL-3.0-or-later
"""What `batch` does: many images through the one queue, with a report of what became of each."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import PurePosixPath

from ...engine import __version__
from ...engine.backends import available
from ...engine.batch.inputs import gather, take_share
from ...engine.batch.naming import Names
from ...engine.batch.records import (
    DONE,
    SKIPPED,
    Known,
    Record,
    files_of,
    load,
    match,
    report_name,
)
from ...engine.batch.results import Results
from ...engine.batch.rows import Row, Wanted, differing, name_rows, validate
from ...engine.errors import EspalierError
from ...engine.files import ensure_writable
from ...engine.jobs.pool import SLOTS
from ...engine.jobs.queue import JobQueue
from .. import session, trellis2
from .batch_arguments import Batch
from .batch_library import write_library
from .batch_report import BatchReport
from .batch_run import BatchRun
from .batch_spending import agree_on
from .interrupt import interruptible
from .report import private_stdout

SOME_FAILED = 3
"""Exit code of a batch of which not all came out."""
SETTLED_S = 5.0


def run(options: Batch) -> int:
    """Carry out a batch and return its exit code. Raises EspalierError where it cannot begin."""
    with private_stdout() as stream, interruptible() as interrupted, trellis2.fast(options.fast):
        report = BatchReport(stream, options.json)
        rows, lods = _rows(options, report)
        wanted = Wanted(lods, options.blend, options.preview, options.library)
        name = report_name(options.shard)
        page = options.output / f"{name}.html"
        for path in (page, options.library):
            if path is not None:
                ensure_writable(path)
        known, own = _known(options, rows, wanted, name)
        stems = _stems(options, rows, wanted, known)
        mine = [rows[index] for index in take_share(len(rows), options.shard)]
        records = [_record(row, stems[row.number], known) for row in mine]
        about = {
            "espalier": __version__,
            "input": options.given,
            "output": str(options.output),
            "engine": options.engine,
            "shard": "/".join(map(str, options.shard)) if options.shard else None,
        }
        results = Results(options.output, name, about, [*records, *own])
        todo = [row for row in mine if row.number not in known.done]
        try:
            slots = _slots(options, todo)
            if trellis2.ENGINE in slots:
                trellis2.ensure_ready()
            batch = BatchRun(
                session.session.open_queue(slots), slots, options, wanted, known, results, report, interrupted
            )
            batch.take(agree_on(options, batch.unpaid(todo), report))
            results.begin()
            report.begin(len(mine), len(known.done))
            batch.carry_out(todo)
            _settle(session.session.open_queue())
            whole = _finish(options, wanted, results, report)
        finally:
            session.session.close()
        counts = results.count()
        report.ended(counts[SKIPPED], batch.billed_usd, page)
    return 0 if whole and counts[DONE] == len(mine) else SOME_FAILED


def _rows(options: Batch, report: BatchReport) -> tuple[list[Row], tuple[int, ...]]:
    """Return the rows of the whole input. Raises EspalierError, having told all that is wrong with a manifest."""
    entries = gather(options.given, options.output)
    told = trellis2.settings().unusual()
    rows, faults = validate(entries, options.engine, options.settings, available(), options.lods, told)
    if faults and not faults[0].line:
        raise faults[0].error
    if faults:
        report.faults(options.given, faults)
        count = len({fault.line for fault in faults})
        raise EspalierError("manifest_rows", count=count, total=len(entries), path=options.given)
    return rows, rows[0].lods


def _known(options: Batch, rows: list[Row], wanted: Wanted, name: str) -> tuple[Known, list[Record]]:
    """Return what earlier runs tell of the rows, and the records of the same report that are of none of them."""
    if not options.resume:
        return Known(), []
    known = match(rows, load(options.output), wanted, options.output)
    others = {(record.stem, record.key) for record in known.others}
    own = [record for record in load(options.output, name) if (record.stem, record.key) in others]
    return known, [replace(record, row=0, line=0) for record in own]


def _stems(options: Batch, rows: list[Row], wanted: Wanted, known: Known) -> dict[int, PurePosixPath]:
    """Return the name of each row below the output, none twice, and none of an image or of what others made."""
    taken = [*files_of(known.others), *files_of(known.done.values())]
    for row in rows:
        try:
            taken.append(PurePosixPath(os.path.relpath(row.request.image, options.output).replace(os.sep, "/")))
        except ValueError:  # on another drive of Windows
            continue
    names = Names(wanted.all_files, taken)
    found = {number: PurePosixPath(record.stem) for number, record in known.done.items()}
    found |= {number: stem for number, stem in known.stems.items() if names.take(wanted.all_files(stem))}
    return found | name_rows([row for row in rows if row.number not in found], names)


def _record(row: Row, stem: PurePosixPath, known: Known) -> Record:
    """Return what is known of a row before the batch begins."""
    request = row.request
    told = {"row": row.number, "line": row.line, "image": request.image, "name": request.name}
    if row.number in known.done:
        return replace(known.done[row.number], **told)
    key = known.keys.get(row.number, "")
    return Record(**told, engine=request.engine, stem=stem.as_posix(), key=key, settings=differing(row))


def _slots(options: Batch, rows: list[Row]) -> dict[str, int]:
    """Return how many jobs of each engine run side by side: one a core where they share the processor."""
    slots = {}
    for engine in {row.request.engine for row in rows}:
        own = _cores() if engine == "draft" else SLOTS[engine]
        slots[engine] = options.jobs or own
    return slots


def _cores() -> int:
    """Return how many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _settle(queue: JobQueue) -> None:
    """Wait until what was decided is in the ledger, but not for jobs of others that --resume has taken up."""
    end = time.monotonic() + SETTLED_S
    while queue.busy and time.monotonic() < end:
        session.advance()


def _finish(options: Batch, wanted: Wanted, results: Results, report: BatchReport) -> bool:
    """Write the one .blend of all, if there is to be one, and the whole report; tell whether both are there.

    A .blend that cannot be written is made up for by the next run with --resume: its parts stay.
    """
    whole = True
    try:
        if wanted.library is not None:
            begun = time.monotonic()
            count = write_library(wanted.library, options.output, [r for r in results.records if r.state == DONE])
            report.library(wanted.library, count, time.monotonic() - begun)
    except EspalierError as error:
        report.trouble(error)
        whole = False
    try:
        results.finish()
    except EspalierError as error:
        report.trouble(error)
        whole = False
    return whole
