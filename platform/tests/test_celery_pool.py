"""The pool of a Celery worker: what it tells the agent, what it acknowledges, what it gives back. By sockets, without broker and agent."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery.exceptions import Reject

from trackside.executors.celery import pool as pools

SLOTS = 2


class Hub:
    """Celery's event loop, whose timers are called by the test."""

    def __init__(self) -> None:
        self.timers: list[Any] = []

    def add_reader(self, fd: int, callback: Any) -> None:
        self.reader = callback

    def call_later(self, seconds: float, callback: Any) -> None:
        self.timers.append(callback)

    def remove(self, fd: int) -> None:
        self.reader = None


class Qos:
    """The prefetch count."""

    value = SLOTS

    def increment_eventually(self, n: int) -> None:
        self.value += n

    def decrement_eventually(self, n: int) -> None:
        self.value -= n


class Consumer:
    def __init__(self) -> None:
        self.qos = Qos()


class World:
    """A pool, the agent's end of its socket, and what became of each message."""

    def __init__(self) -> None:
        ours, self.agent = socket.socketpair()
        self.pool = type("Pool", (pools.AgentPool,), {"ours": ours})(SLOTS)
        self.pool.consumer, self.hub = Consumer(), Hub()
        self.pool.register_with_event_loop(self.hub)
        self.begun: list[str] = []
        self.ended: dict[str, str] = {}

    def message(self, try_id: str, *, name: str = "") -> str:
        name = name or try_id
        body = json.dumps([[try_id], {}, {}]).encode()

        def refused(info: Any) -> None:
            assert isinstance(info.exception.exc if hasattr(info.exception, "exc") else info.exception, Reject)
            error = info.exception.exc if hasattr(info.exception, "exc") else info.exception
            self.ended[name] = "given back" if error.requeue else "dropped"

        self.pool.on_apply(
            None, (None, name, {}, body, "application/json", "utf-8"), callback=lambda result: self.ended.update({name: "acknowledged"}),
            accept_callback=lambda pid, at: self.begun.append(name), error_callback=refused,
        )  # fmt: skip
        return try_id

    def heard(self) -> list[str]:
        self.agent.setblocking(False)
        try:
            return self.agent.recv(65536).decode().splitlines()
        except BlockingIOError:
            return []

    def says(self, *lines: str) -> None:
        self.agent.sendall("".join(f"{line}\n" for line in lines).encode())
        self.hub.reader()


@pytest.fixture
def world() -> Iterator[World]:
    found = World()
    yield found
    found.agent.close()
    found.pool.ours.close()


def test_a_message_is_acknowledged_when_its_try_is_over(world: World) -> None:
    one = world.message(str(uuid4()))
    assert (world.heard(), world.ended) == ([f"take {one}"], {})
    world.says(f"done {one}")
    assert world.ended == {one: "acknowledged"}


def test_messages_that_name_one_try_ask_for_it_once_and_are_done_with_together(world: World) -> None:
    one = world.message(str(uuid4()), name="first")
    world.message(one, name="second")
    assert world.heard() == [f"take {one}"]
    world.says(f"done {one}")
    assert world.ended == {"first": "acknowledged", "second": "acknowledged"}


def test_a_message_that_names_no_try_is_dropped(world: World) -> None:
    world.message("no try at all")
    assert (world.heard(), world.ended) == ([], {"no try at all": "acknowledged"})


def test_more_is_fetched_only_while_tries_are_short(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (world.message(str(uuid4())), world.message(str(uuid4()))):
        world.says(f"done {one}")
    assert world.pool.consumer.qos.value == 2 * SLOTS
    monkeypatch.setattr(pools, "AHEAD_S", 0.0)
    world.pool._look()
    assert world.pool.consumer.qos.value == SLOTS


def test_what_is_named_ahead_begins_when_a_slot_is_free(world: World) -> None:
    first, second, ahead = (world.message(str(uuid4())) for _ in range(3))
    assert world.begun == [first, second]
    world.says(f"done {first}")
    assert world.begun == [first, second, ahead]


def test_what_waits_too_long_behind_others_goes_back_to_the_broker(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, ahead = (world.message(str(uuid4())) for _ in range(3))
    world.heard()
    monkeypatch.setattr(pools, "AHEAD_S", 0.0)
    world.hub.timers.pop()()
    assert world.heard() == [f"leave {ahead}"]
    world.says(f"left {ahead}", f"done {first}")
    assert world.ended == {ahead: "given back", first: "acknowledged"}
    world.says(f"done {second}")
    assert world.begun == [first, second]


def test_what_came_before_it_could_be_taken_back_runs_here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _, ahead = (world.message(str(uuid4())) for _ in range(3))
    monkeypatch.setattr(pools, "AHEAD_S", 0.0)
    world.hub.timers.pop()()
    world.says(f"done {first}", f"done {ahead}")
    assert world.ended == {first: "acknowledged", ahead: "acknowledged"}


def test_messages_of_an_agent_that_is_gone_are_dropped_because_the_ledger_sends_again(world: World) -> None:
    one = world.message(str(uuid4()))
    world.agent.close()
    world.hub.reader()
    assert world.ended == {one: "dropped"}
    late = world.message(str(uuid4()))
    assert world.ended[late] == "dropped"
