"""Ids of OpenTelemetry spans, computed from what every process knows, so that any of them can add spans to a run's trace.

A run is a trace; below its span are its tasks, below each of them its tries. `apps.runs.metrics.traces` exports those when they
have ended. A task that is instrumented itself finds its try in TRACEPARENT.
"""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID


def trace_id(dag_id: str, run_id: str) -> int:
    """The trace of a run: 128 bits, never 0."""
    return _number(16, "run", dag_id, run_id)


def run_span(dag_id: str, run_id: str, clear_number: int = 0) -> int:
    """The span of a run; one that was cleared and ran again has another."""
    return _number(8, "run", dag_id, run_id, str(clear_number))


def task_span(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> int:
    """The span of a task instance, around its tries."""
    return _number(8, "task", dag_id, run_id, task_id, str(map_index))


def try_span(try_id: UUID | str) -> int:
    """The span of a try."""
    return _number(8, "try", str(UUID(str(try_id))))


def traceparent(dag_id: str, run_id: str, try_id: UUID | str) -> str:
    """The W3C header (and variable TRACEPARENT) with which a span becomes a child of a try."""
    return f"00-{trace_id(dag_id, run_id):032x}-{try_span(try_id):016x}-01"


def _number(size: int, *parts: str) -> int:
    return int.from_bytes(sha256("\0".join(parts).encode(errors="surrogatepass")).digest()[:size]) or 1
