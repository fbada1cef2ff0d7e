"""The arithmetic of the benchmark: trace files, quantiles, rates, and the table. Pure, so that it can be tested.

A trace is what the tasks of a workload append to one file: `name start end`, seconds since the epoch, taken by the first
and the last line of the task's own code. Everything else in `bench/` only measures and calls this.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """One task's own code, from its first line to its last."""

    name: str
    start: float
    end: float


def parse_trace(text: str, since: float = 0.0) -> list[Span]:
    """Spans that began at or after `since`, in order of start. A last line that is still being written is left out."""
    spans = []
    for line in text.splitlines(keepends=True):
        words = line.split()
        if line.endswith("\n") and len(words) == 3 and float(words[1]) >= since:
            spans.append(Span(words[0], float(words[1]), float(words[2])))
    return sorted(spans, key=lambda s: (s.start, s.end))


def gaps(spans: Sequence[Span]) -> list[float]:
    """Seconds from each span's last line to the next one's first. Raises ValueError when spans overlap: no chain."""
    found = [later.start - earlier.end for earlier, later in itertools.pairwise(spans)]
    if any(gap < 0 for gap in found):
        raise ValueError("tasks of the chain overlapped: it is no chain")
    return found


def quantile(values: Iterable[float], q: float) -> float:
    """The smallest value that at least the share `q` of all values does not exceed (nearest rank)."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Stats:
    """Median, 95th percentile and extremes, in milliseconds."""

    median: float
    p95: float
    low: float
    high: float

    @classmethod
    def of_seconds(cls, values: Sequence[float]) -> Stats:
        """From values in seconds."""
        scaled = [1000 * v for v in values]
        return cls(statistics.median(scaled), quantile(scaled, 0.95), min(scaled), max(scaled))

    def to_dict(self) -> dict[str, float]:
        """Rounded to microseconds, for the JSON file."""
        return {f"{name}_ms": round(getattr(self, name), 3) for name in ("median", "p95", "low", "high")}


def rate(tasks: int, seconds: float) -> float:
    """Tasks per second."""
    if seconds <= 0:
        raise ValueError("no time passed")
    return tasks / seconds


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `verdict` is None where nothing was measured."""

    what: str
    airflow: str
    budget: str
    measured: str = "–"
    ratio: str = "–"
    verdict: bool | None = None


def ratio(ms: float, floor_ms: float | None) -> str:
    """How many floors a time is; a dash without a floor."""
    return f"{ms / floor_ms:.1f} ×" if floor_ms else "–"


def table(rows: Sequence[Row]) -> str:
    """Markdown with aligned columns. A budget that was missed is marked in words, not by colour alone."""
    head = ("what", "Airflow 3.3.2 (recorded)", "budget", "measured", "ratio to floor")
    words = {True: "", False: " (over budget)", None: ""}
    body = [(r.what, r.airflow, r.budget, r.measured + words[r.verdict], r.ratio) for r in rows]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]

    def text(line: Sequence[str]) -> str:
        return "| " + " | ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) + " |"

    return "\n".join([text(head), "|" + "|".join("-" * (w + 2) for w in widths) + "|", *map(text, body)])
