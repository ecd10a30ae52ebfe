# SPDX-License-Identifier: GPL-3.0-or-later
"""The contact sheet: one HTML page that shows every asset by its thumbnail, and what did not come out, first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from .records import DONE, FAILED, SKIPPED, WAITING, Record
from .rows import thumbnail_of

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #c0392b; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a7a; } }
body { font: 14px/1.45 system-ui, sans-serif; margin: 24px auto; max-width: 1400px; padding: 0 24px; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 28px 0 10px; }
p { margin: 0 0 6px; } .soft { opacity: .7; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
td:first-child, th:first-child { white-space: nowrap; text-align: right; width: 1%; }
th:nth-child(2) { width: 38%; } .why b { color: var(--bad); font-weight: 600; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 14px; }
.card { border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.card .picture { display: block; background: repeating-conic-gradient(#8882 0 25%, #0000 0 50%) 0 0/20px 20px; }
.card img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; }
.card .text { padding: 8px 10px 10px; overflow-wrap: anywhere; }
.card .name { font-weight: 600; } .card .facts { font-size: 12px; opacity: .75; }
.card .links { font-size: 12px; margin-top: 4px; }
"""
_WORDS = {DONE: "done", FAILED: "failed", SKIPPED: "not begun", WAITING: "still to come"}
_LINKS = {"glb": "GLB", "blend": "Blend", "preview": "Preview"}


def contact_sheet(summary: Mapping[str, Any], records: Sequence[Record]) -> str:
    """Return the page for `records`; `summary` is the head of the report's JSON. Links are relative to the output."""
    counts = ", ".join(f"{count:,} {_WORDS[state]}" for state, count in summary["counts"].items() if count)
    usd = summary.get("usd")
    told = [counts or "nothing to do"]
    if usd:
        told.append(f"{usd:.3f} USD billed")
    when = " to ".join(map(_moment, (summary["started"], summary["finished"]))) if summary.get("finished") else ""
    since = f"since {_moment(summary['started'])}"
    failed = [record for record in records if record.state == FAILED]
    skipped = [record for record in records if record.state == SKIPPED]
    done = [record for record in records if record.state == DONE]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Espalier: {escape(str(summary.get('input', '')))}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(' · '.join(told))}</h1>",
        f'<p class="soft">{escape(str(summary.get("input", "")))} · engine {escape(str(summary.get("engine", "")))} · '
        f"{escape(when or since)}</p>",
    ]
    if failed:
        parts += [f"<h2>Failed ({len(failed):,})</h2>", _table(failed)]
    if done:
        cards = "\n".join(map(_card, done))
        parts += [f'<h2>Assets ({len(done):,})</h2><div class="grid">', cards, "</div>"]
    if skipped:
        parts += [f"<h2>Not begun ({len(skipped):,})</h2>", _table(skipped)]
    parts.append("</body></html>")
    return "\n".join(parts) + "\n"


def _moment(text: str) -> str:
    return text.replace("T", " ").replace("Z", " UTC")


def _table(records: Sequence[Record]) -> str:
    lines = ["<table><tr><th>Row</th><th>Image</th><th>Why</th></tr>"]
    for record in records:
        error = record.error or {}
        why = f"<b>{escape(error.get('cause', ''))}</b> {escape(error.get('remedy', ''))}"
        lines.append(
            f"<tr><td>{record.row or ''}</td><td>{escape(record.name)}<br>"
            f'<span class="soft">{escape(record.image)}</span></td><td class="why">{why}</td></tr>'
        )
    return "\n".join([*lines, "</table>"])


def _card(record: Record) -> str:
    stem = PurePosixPath(record.stem)
    facts = [f"{record.faces:,} faces" if record.faces else "", _texture(record), _size(record.bytes)]
    if record.seconds is not None:
        facts.append(f"{record.seconds:.1f} s")
    if record.usd:
        facts.append(f"{record.usd:.3f} USD")
    links = " · ".join(
        f'<a href="{_address(path)}">{escape(_LINKS.get(name, name.upper()))}</a>'
        for name, path in record.files.items()
    )
    notices = "".join(f'<div class="facts">{escape(text)}</div>' for text in record.notices)
    picture = record.files.get("preview") or thumbnail_of(stem).as_posix()
    return (
        f'<div class="card"><a class="picture" href="{_address(record.files.get("glb", ""))}">'
        f'<img loading="lazy" alt="{escape(record.name)}" src="{_address(picture)}"></a>'
        f'<div class="text"><div class="name">{escape(str(stem))}</div>'
        f'<div class="facts">{escape(" · ".join(filter(None, facts)))}</div>{notices}'
        f'<div class="links">{links}</div></div></div>'
    )


def _texture(record: Record) -> str:
    return f"{record.texture_size} px" if record.texture_size else ""


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _address(path: str) -> str:
    return escape(quote(path))
