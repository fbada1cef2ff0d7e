"""What is lost between worker and server: answers cut short, connections closed, reports refused, messages repeated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from runner_support import FakeServer, Play


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Runs a test's body with a server and a worker."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return Play(tmp_path / "dag.py")


STARTS = """
import pathlib
def task_note(order, comms):
    with open(pathlib.Path(__file__).with_suffix(".starts"), "a") as file:
        file.write(order.try_id + chr(10))
    return order.try_id
def task_big(order, comms):
    return "x" * 1000
def task_large_order(order, comms):
    return len(order.xcoms[0]["value"])
"""


def _starts(play: Play) -> list[str]:
    return play.file.with_suffix(".starts").read_text().split()


@pytest.mark.parametrize("verdict", ["cut", "drop"])
def test_an_answer_that_is_cut_raises_the_epoch_and_nothing_starts_twice(play: Play, verdict: str) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        cuts = 0

        def every_third(request: dict[str, Any], answer: dict[str, Any]) -> str | None:
            nonlocal cuts
            if not (answer["start"] or answer["settled"] or request["finished"]):
                return None
            cuts += 1
            return verdict if cuts % 3 == 0 else None

        server.on_exchange = every_third
        ids = [server.order(play.file, "note") for _ in range(30)]
        for try_id in ids:
            assert (await server.report_of(try_id))["outcome"] == "success"
        server.on_exchange = lambda request, answer: None
        await server.until(lambda: not agent.tries, "everything settled")
        assert cuts >= 3
        assert agent.exchanger.epoch >= 1
        assert sorted(_starts(play)) == sorted(ids), "each try ran exactly once"
        epochs = [exchange["epoch"] for exchange in server.exchanges]
        assert max(epochs) == agent.exchanger.epoch

    play(body, STARTS)


def test_a_try_is_named_until_its_report_is_settled(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        forgetful = True

        def unsettled(request: dict[str, Any], answer: dict[str, Any]) -> str | None:
            if forgetful:
                answer["settled"].clear()
            return None

        server.on_exchange = unsettled
        try_id = server.order(play.file, "note")
        await server.until(lambda: server.reports_seen >= 3, "the report is repeated")
        assert all(try_id in e["running"] for e in server.exchanges if e["finished"])
        forgetful = False
        await server.until(lambda: not agent.tries)
        assert _starts(play) == [try_id]

    play(body, STARTS)


def test_a_report_the_server_will_not_have_becomes_a_failure_and_does_not_block_others(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        server.refuses = lambda request: any(len(str(r.get("xcoms"))) > 1000 for r in request["finished"])
        big = server.order(play.file, "big")
        others = [server.order(play.file, "note") for _ in range(4)]
        for try_id in others:
            assert (await server.report_of(try_id))["outcome"] == "success"
        report = await server.report_of(big)
        assert report["outcome"] == "failed"
        assert "The server refused the result of this task (413)" in report["error"]

    play(body, STARTS)


def test_a_server_that_restarts_finds_the_worker_again(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        await server.report_of(server.order(play.file, "note"))
        server.cut_connections()
        assert (await server.report_of(server.order(play.file, "note")))["outcome"] == "success"

    play(body, STARTS)


def test_an_order_for_a_try_that_runs_already_is_ignored(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        twice = True

        def repeat(request: dict[str, Any], answer: dict[str, Any]) -> str | None:
            nonlocal twice
            if answer["start"] and twice:
                twice = False
                answer["start"] *= 2
            return None

        server.on_exchange = repeat
        try_id = server.order(play.file, "note")
        await server.report_of(try_id)
        await server.until(lambda: not agent.tries)
        assert _starts(play) == [try_id]

    play(body, STARTS)


def test_the_same_try_may_come_back_after_a_reschedule(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, "note")
        await server.report_of(try_id)
        await server.log_of(try_id)
        before = len(server.logs[try_id])
        del server.reports[try_id]
        server.log_ended.clear()
        server.order(play.file, "note", try_id=try_id, reschedule_count=1)
        assert (await server.report_of(try_id))["outcome"] == "success"
        lines = await server.log_of(try_id)
        assert len([line for line in lines if line["src"] == "system"]) == 2, "one log, gone on with"
        assert len(server.logs[try_id]) > before
        assert _starts(play) == [try_id, try_id]

    play(body, STARTS)


def test_an_order_larger_than_a_socket_buffer_arrives(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        xcoms = [{"key": "return_value", "value": "y" * 3_000_000}]
        report = await server.report_of(server.order(play.file, "large_order", xcoms=xcoms))
        assert report["xcoms"][0]["value"] == 3_000_000

    play(body, STARTS)


def test_every_exchange_says_who_we_are_and_there_is_one_each_heartbeat(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        await server.until(lambda: len(server.exchanges) >= 4, "several heartbeats")
        request = server.exchanges[-1]
        assert request["worker_id"] == agent.worker_id
        assert (request["slots"], request["free"], request["name"]) == (8, 8, "w1")
        assert request["queues"] == ["default"]
        assert request["pid"] == os.getpid()
        assert request["wait_s"] == 0.1

    play(body, STARTS, heartbeat_s=0.1)
