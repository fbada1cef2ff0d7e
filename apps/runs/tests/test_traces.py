"""Traces: run → task → try, received by a real OTLP receiver, with ids that any process can compute."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from apps.runs.metrics import rollup, traces
from apps.runs.models import Try
from apps.runs.tests import support
from apps.runs.tests.support import Worker, woken  # noqa: F401
from trackside.core import tracing

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Spans that arrive at a receiver of the OTLP protocol over HTTP."""
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                names = {a.key: a.value.string_value for a in resource.resource.attributes}
                got.extend((names["service.name"], span) for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr(rollup, "_subscribers", [])
    yield got
    server.shutdown()
    server.server_close()


def test_a_run_is_a_trace_with_its_tasks_and_their_tries(receiver: list[Any], settings: Any) -> None:
    settings.TRACES = True
    end = traces.start()
    support.dag([support.task("a", "b", retries=1, retry_delay=0.0), support.task("b")], "orders")
    run = support.run("orders")
    outcomes = iter(["failed", "success", "success"])
    for _ in range(6):
        Worker().work(lambda order: {"outcome": next(outcomes), "error": "no such table"})
        support.tick()
        if support.state(run) == "success":
            break
    assert support.state(run) == "success"
    while rollup.run_once():
        pass
    end()  # sends what is left

    spans = {span.name: span for _, span in receiver}
    assert sorted(spans) == ["a", "a try 1", "a try 2", "b", "b try 1", "orders"] and len(receiver) == 6
    assert {service for service, _ in receiver} == {"trackside"}
    trace = tracing.trace_id("orders", run.run_id).to_bytes(16)
    assert {span.trace_id for span in spans.values()} == {trace}
    assert spans["orders"].parent_span_id == b""
    assert spans["a"].parent_span_id == spans["b"].parent_span_id == spans["orders"].span_id
    assert spans["a try 1"].parent_span_id == spans["a try 2"].parent_span_id == spans["a"].span_id
    first = Try.objects.get(ti__task_id="a", number=1)
    assert spans["a try 1"].span_id == tracing.try_span(first.id).to_bytes(8)
    assert spans["a try 1"].status.code == 2 and spans["a try 1"].status.message == "no such table" and spans["a"].status.code == 1
    assert spans["a"].start_time_unix_nano <= spans["a try 1"].start_time_unix_nano <= spans["a try 2"].start_time_unix_nano
    assert spans["orders"].end_time_unix_nano >= spans["b"].end_time_unix_nano
    assert tracing.traceparent("orders", run.run_id, first.id) == f"00-{trace.hex()}-{spans['a try 1'].span_id.hex()}-01"


def test_without_the_setting_nothing_is_imported_or_subscribed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "_subscribers", [])
    settings.TRACES = False
    traces.start()()
    assert rollup._subscribers == []


def test_with_the_setting_and_without_the_packages_the_start_says_what_to_install(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *more: Any, **rest: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *more, **rest)

    settings.TRACES = True
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(traces.NoTraces, match=r"pip install 'trackside\[traces\]'"):
        traces.start()
