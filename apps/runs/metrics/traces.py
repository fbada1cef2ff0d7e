"""Traces run → task → try for OpenTelemetry (extra `trackside[traces]`, TRACKSIDE_TRACES): exported when each of them has ended.

A subscriber of `rollup`, so in the scheduler's process and off every hot path: spans are made of what the ledger says, with ids
that every process can compute (`trackside.core.tracing`), and leave from a thread of the exporter. Where to, the standard
variables say (OTEL_EXPORTER_OTLP_ENDPOINT …). Spans that cannot be delivered are dropped, never waited for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings

from apps.runs.metrics import rollup
from apps.runs.metrics.rollup import RunEnd, TryEnd
from trackside.core import tracing

_FINAL = frozenset({"success", "failed", "skipped"})


class NoTraces(Exception):
    """TRACKSIDE_TRACES is on and the packages are missing: pip install 'trackside[traces]'."""


def start() -> Callable[[], None]:
    """Export from now on, if TRACKSIDE_TRACES says so; the function that sends what is left and ends. Raises NoTraces."""
    if not settings.TRACES:
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as e:
        raise NoTraces(f"TRACKSIDE_TRACES needs packages that are not here ({e}). Run: pip install 'trackside[traces]'") from e
    given = {"service.version": settings.VERSION} | ({} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "trackside"})
    processor = BatchSpanProcessor(OTLPSpanExporter())
    exporter = Exporter(processor.on_end, Resource.create(given))
    rollup.subscribe(exporter.told)
    return processor.shutdown


class Exporter:
    """Makes spans of ends and hands them to `send`."""

    def __init__(self, send: Callable[[Any], None], resource: Any = None) -> None:
        self._send = send
        self._resource = resource

    def told(self, runs: Sequence[RunEnd], tries: Sequence[TryEnd]) -> None:
        """See `rollup.subscribe`."""
        for one in tries:
            self._try(one)
        for run in runs:
            self._run(run)

    def _run(self, run: RunEnd) -> None:
        facts = {
            "trackside.dag_id": run.dag_id,
            "trackside.run_id": run.run_id,
            "trackside.run_type": run.run_type,
            "trackside.state": run.state,
        }
        span = tracing.run_span(run.dag_id, run.run_id, run.clear_number)
        self._span(run.dag_id, run.dag_id, run.run_id, span, None, run.start or run.run_after, run.end, facts, run.state)

    def _try(self, one: TryEnd) -> None:
        facts = {
            "trackside.dag_id": one.dag_id,
            "trackside.run_id": one.run_id,
            "trackside.task_id": one.task_id,
            "trackside.map_index": one.map_index,
        }
        task = tracing.task_span(one.dag_id, one.run_id, one.task_id, one.map_index)
        own = {
            "trackside.try_number": one.number, "trackside.try_id": str(one.id), "trackside.executor": one.executor,
            "trackside.queue": one.queue, "trackside.state": one.final or one.state,
        }  # fmt: skip
        events = [("queued", one.queued_at), ("started", one.start)]
        began = one.queued_at or one.start
        name = f"{one.task_id} try {one.number}"
        self._span(name, one.dag_id, one.run_id, tracing.try_span(one.id), task, began, one.end, facts | own, one.final, one.error, events)
        if one.current and one.ti_state in _FINAL:
            run = tracing.run_span(one.dag_id, one.run_id, one.clear_number)
            facts |= {"trackside.state": one.ti_state, "trackside.tries": one.number}
            self._span(one.task_id, one.dag_id, one.run_id, task, run, one.began or began, one.end, facts, one.ti_state)

    def _span(
        self,
        name: str,
        dag_id: str,
        run_id: str,
        span_id: int,
        parent: int | None,
        began: datetime | None,
        ended: datetime | None,
        facts: dict[str, Any],
        state: str | None,
        error: str | None = None,
        events: Sequence[tuple[str, datetime | None]] = (),
    ) -> None:
        from opentelemetry.sdk.trace import Event, ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
        from opentelemetry.trace.status import Status, StatusCode

        if began is None or ended is None:
            return
        trace, sampled = tracing.trace_id(dag_id, run_id), TraceFlags(TraceFlags.SAMPLED)
        span = ReadableSpan(
            name,
            SpanContext(trace, span_id, False, sampled),
            SpanContext(trace, parent, False, sampled) if parent else None,
            self._resource,
            attributes=facts,
            events=[Event(event, timestamp=_ns(at)) for event, at in events if at is not None],
            kind=SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, error or None) if state == "failed" else Status(StatusCode.OK),
            start_time=_ns(began),
            end_time=_ns(max(began, ended)),
        )
        self._send(span)


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
