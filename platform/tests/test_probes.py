"""Probes of processes without HTTP tell the truth: alive while the loop goes round, ready while it does its work."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

from trackside.runner import probes
from trackside.runner.probes import STUCK_S, Probes


def test_a_process_is_alive_before_its_first_pass_but_not_ready() -> None:
    fresh = Probes()
    assert fresh.judge("/health/live", 0.0)[0] == 200
    assert fresh.judge("/health/ready", 0.0) == (503, {"status": "not ready", "why": "It has not finished its first pass yet."})


def test_a_loop_without_its_database_is_alive_and_not_ready() -> None:
    away = Probes()
    away.turn("The database does not answer.")
    assert away.judge("/health/live", time.monotonic())[0] == 200
    assert away.judge("/health/ready", time.monotonic()) == (503, {"status": "not ready", "why": "The database does not answer."})
    away.turn()
    assert away.judge("/health/ready", time.monotonic()) == (200, {"status": "ready"})


def test_a_loop_that_does_not_go_round_is_neither() -> None:
    stuck = Probes()
    stuck.turn()
    later = time.monotonic() + STUCK_S + 1
    assert stuck.judge("/health/live", later)[0] == 503 and stuck.judge("/health/ready", later)[0] == 503


def test_it_answers_over_http_and_a_taken_port_stops_nobody(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    served, second = Probes(), Probes()
    port = served.serve(0)
    try:
        served.turn()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=10) as answer:
            assert json.load(answer) == {"status": "ready"}
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/secrets", timeout=10)
            raise AssertionError("it answered")
        except urllib.error.HTTPError as error:
            assert error.code == 404
        monkeypatch.setattr(probes, "_own", second)
        probes.start({"TRACKSIDE_HEALTH_PORT": str(port)})
        assert second.server is None
        probes.start({})
        assert second.server is None
    finally:
        served.close()
