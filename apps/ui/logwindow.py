"""Windows of a log of any length: by number of record, by place in a filtered view, what it holds, where a text is.

One set of answers for the log viewer (`views/logs.py`) and for REST (`api/logs.py`). A **view** is the records that levels
and sources leave, without the ends of groups; the **rank** of a record is its place in a view, from 0. Ranks only ever
grow at the end, so a page may keep what it read. Next door: `logindex.py` knows where records are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import re2

from apps.runs import logs
from apps.runs.models import Try
from apps.ui import logindex, loglines
from apps.ui.logindex import BEGIN, END, ERROR, LEVEL_BITS, SOURCE_SHIFT, Index

MAX_LINES = 1000
MAX_BYTES = 1_000_000
"""Of records in one window; it ends earlier, but never before its first record."""
MAX_HITS = 2000
SEARCH_SECONDS = 0.4
"""After this long a search answers with what it found, and where to go on."""
CLIP = 10_000
"""Characters of one record that a window holds; the download has the rest."""
MAX_PATTERN = 500
_PIECE = 4096
"""Records that are looked through at once when ranks are counted."""


class BadPattern(ValueError):
    """The text is no regular expression as RE2 knows them (no look-around, no back-references)."""


@dataclass(frozen=True, slots=True)
class View:
    """Levels and sources that show; empty means all."""

    levels: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()

    def table(self) -> bytes:
        """For `bytes.translate`: 1 for a record's byte that shows, else 0."""
        levels = {k for k, name in enumerate(loglines.LEVELS) if not self.levels or name in self.levels}
        sources = {k for k, name in enumerate(logindex.SOURCES) if not self.sources or name in self.sources}
        return bytes(
            not code & END and code & LEVEL_BITS in levels and (code >> SOURCE_SHIFT) & 3 in sources for code in range(256)
        )  # fmt: skip


EVERYTHING = View()


def about(row: Try, view: View = EVERYTHING) -> dict[str, Any]:
    """What the log holds: records and bytes so far, how many of each level and source, how many show, groups, the first error."""
    index = logindex.of(row.pk)
    classes, table = bytes(index.classes), view.table()
    plain = classes.translate(bytes(code & 15 for code in range(256)))  # level and source, no flags
    kinds = [plain.count(code) for code in range(16)]
    shown = classes.translate(table)
    first = _errors(classes, shown, 0, 1)
    return {
        "try_id": str(row.pk),
        "records": len(classes),
        "size": index.size,
        "complete": _complete(row, index),
        "levels": {name: sum(n for c, n in enumerate(kinds) if c & LEVEL_BITS == k) for k, name in enumerate(loglines.LEVELS)},
        "sources": {name: sum(n for c, n in enumerate(kinds) if (c >> SOURCE_SHIFT) & 3 == k) for k, name in enumerate(logindex.SOURCES)},
        "shown": shown.count(1),
        "groups": _groups(index, shown),
        "first_error": first[0] if first else None,
    }


def _complete(row: Try, index: Index) -> bool:
    return bool(row.log_ended) and index.size >= logs.size_of(row.pk)


def _groups(index: Index, shown: bytes) -> list[list[int | None]]:
    """[number of the head, its rank (-1: not in the view), rank of what comes after the group (null: open), 1 if it holds an error]."""
    edges = sorted({edge for g in index.groups for edge in (g[0], g[1]) if 0 < edge <= len(shown)})
    ranks, rank, last = {}, 0, 0
    for edge in edges:
        rank += shown.count(1, last, edge - 1)
        ranks[edge], last = rank, edge - 1
    return [
        [head, ranks[head] if shown[head - 1] else -1, ranks.get(end) if end else None, bad]
        for head, end, bad in list(index.groups) if head in ranks
    ]  # fmt: skip


# --- windows ----------------------------------------------------------------------------------------------------------
def window(row: Try, view: View = EVERYTHING, *, at: int = 0, line: int | None = None, count: int = 200) -> dict[str, Any]:
    """Records of a view from a rank on; or from a number on (`line`), or the next that shows."""
    index = logindex.of(row.pk)
    shown = bytes(index.classes).translate(view.table())
    if line is not None:
        at = shown.count(1, 0, max(0, line - 1))
    numbers, lines, size = list[int](), list[dict[str, Any]](), 0
    wanted = list(_numbers(shown, at, min(count, MAX_LINES)))
    for number, raw in zip(wanted, index.lines(wanted) if wanted else (), strict=True):
        size += len(raw)
        if lines and size > MAX_BYTES:
            break
        numbers.append(number)
        lines.append(clip(logs.parse(raw)))
    return {
        "try_id": str(row.pk), "at": at, "numbers": numbers, "lines": lines, "shown": shown.count(1), "records": len(shown),
        "complete": _complete(row, index),
    }  # fmt: skip


def _numbers(shown: bytes, at: int, count: int) -> Iterator[int]:
    """Numbers of the records with ranks at, at + 1, …"""
    left, start = at, 0
    while start < len(shown) and (here := shown.count(1, start, start + _PIECE)) <= left:
        left -= here
        start += _PIECE
    k = start - 1
    for _ in range(left + count):
        k = shown.find(1, k + 1)
        if k < 0:
            return
        if left:
            left -= 1
        else:
            yield k + 1


def clip(event: dict[str, Any]) -> dict[str, Any]:
    """The record with a text that a page can draw."""
    long = {k: v for k in ("event", "error_detail") if isinstance(v := event.get(k), str) and len(v) > CLIP}
    return event | {k: f"{v[:CLIP]} … ({len(v) - CLIP} more characters: see the log as text)" for k, v in long.items()} if long else event


# --- searching --------------------------------------------------------------------------------------------------------
def search(
    row: Try,
    text: str,
    view: View = EVERYTHING,
    *,
    regex: bool = False,
    after: int = 0,
    limit: int = MAX_HITS,
    seconds: float = SEARCH_SECONDS,
) -> dict[str, Any]:
    """Records of a view after number `after` that hold a text, whatever its case: `hits` are [number, rank].

    It stops after `limit` hits or `seconds`: `next` is then the `after` of the call that goes on, else null. Escape
    sequences are not part of the text; tracebacks are. Raises BadPattern.
    """
    matches, quick = _matcher(text, regex)
    index, deadline = logindex.of(row.pk), time.monotonic() + seconds
    shown = bytes(index.classes).translate(view.table())
    hits = list[list[int]]()
    rank, counted = 0, 0
    for first, lines, data in index.blocks(after + 1) if after < len(shown) else ():
        for k in _candidates(first, lines, data, shown, quick):
            if k + first <= after or not matches(logs.parse(lines[k])):
                continue
            rank += shown.count(1, counted, k + first - 1)
            counted = k + first - 1
            hits.append([k + first, rank])
            if len(hits) >= limit:
                return _found(hits, k + first, shown)
        last = first + len(lines) - 1
        if time.monotonic() > deadline and last < len(shown):
            return _found(hits, last, shown)
    return _found(hits, None, shown)


def passages(row: Try, numbers: list[int], text: str, around: int = 120) -> list[tuple[int, str]]:
    """(number, the line of that record that holds the text, cut to what is around it)."""
    low, found = text.lower(), []
    for number, raw in zip(numbers, logindex.of(row.pk).lines(numbers), strict=False):
        line = next((line for line in _texts(logs.parse(raw)) if low in line.lower()), "")
        at = max(0, line.lower().find(low) - around)
        cut = line[at : at + len(text) + 2 * around]
        found.append((number, ("…" if at else "") + cut + ("…" if at + len(cut) < len(line) else "")))
    return found


def errors(row: Try, view: View = EVERYTHING, *, after: int = 0, limit: int = 1) -> dict[str, Any]:
    """Where errors begin, as `search` answers: the first record of a row of errors, and each with an exception."""
    index = logindex.of(row.pk)
    classes = bytes(index.classes)
    hits = _errors(classes, classes.translate(view.table()), after, limit)
    return _found(hits, hits[-1][0] if len(hits) == limit else None, classes)


def _found(hits: list[list[int]], following: int | None, records: bytes) -> dict[str, Any]:
    return {"hits": hits, "next": following, "scanned": len(records) if following is None else following, "records": len(records)}


def _errors(classes: bytes, shown: bytes, after: int, limit: int) -> list[list[int]]:
    begins = classes.translate(bytes(bool(code & BEGIN) and code & LEVEL_BITS == ERROR for code in range(256)))
    hits, k = list[list[int]](), after - 1
    while len(hits) < limit and (k := begins.find(1, k + 1)) >= 0:
        if shown[k]:
            hits.append([k + 1, shown.count(1, 0, k)])
    return hits


def _matcher(text: str, regex: bool) -> tuple[Callable[[dict[str, Any]], bool], tuple[bytes, ...]]:
    """(whether a record holds it, bytes of which one is in every line that may; empty: look at every line)."""
    if regex:
        options = re2.Options()
        options.case_sensitive, options.log_errors = False, False
        try:
            pattern = re2.compile(text, options)
        except re2.error as e:
            said = e.args[0] if e.args else e
            raise BadPattern(said.decode() if isinstance(said, bytes) else str(said)) from None
        return (lambda event: any(pattern.search(line) for line in _texts(event))), ()
    low = text.lower()
    quick = (orjson.dumps(low)[1:-1], b"\\u001b", b'"error_detail"') if low.isascii() and low.isprintable() else ()
    return (lambda event: any(low in line.lower() for line in _texts(event))), quick


def _texts(event: dict[str, Any]) -> Iterator[str]:
    for text, kind in loglines.expand(event):
        if kind not in ("fold", "end"):
            yield loglines.plain(text)


def _candidates(first: int, lines: list[bytes], data: bytes, shown: bytes, quick: tuple[bytes, ...]) -> Iterator[int]:
    """Positions of the lines that are worth parsing. All at once by `bytes.find` where the text allows it."""
    visible = shown[first - 1 : first - 1 + len(lines)]
    if not quick:
        yield from (k for k, on in enumerate(visible) if on)
        return
    low = data.lower()
    if not any(needle in low for needle in quick):
        return
    for k, line in enumerate(low.split(b"\n") if b"\n\n" not in low else [line for line in low.split(b"\n") if line]):
        if k < len(visible) and visible[k] and any(needle in line for needle in quick):
            yield k
