"""A stack starts whole, is started once per home and port, stops whole, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable

import psycopg
import pytest

from tests.standalone.stack import PARTS, StandaloneStack, alive, free_port, until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("standalone")]
MakeStack = Callable[..., StandaloneStack]


def test_it_comes_up_whole_and_stops_whole(make_stack: MakeStack) -> None:
    one = make_stack()
    ready = one.start()
    assert ready["url"] == f"http://127.0.0.1:{one.port}"
    assert ready["user"] == "admin"
    assert set(ready["pids"]) == {"supervisor", "postgres", *PARTS}
    assert all(alive(pid) for pid in ready["pids"].values())
    assert stat.S_IMODE(one.ready_file.stat().st_mode) == 0o600
    assert one.answers()

    everything = one.everything()
    assert one.stop(signal.SIGINT) == 0, one.output()
    assert not [pid for pid in everything if alive(pid)]
    assert not one.ready_file.exists()
    assert "Traceback" not in one.output()


def test_a_generated_password_is_shown_once_and_the_home_can_be_started_again(make_stack: MakeStack) -> None:
    one = make_stack()
    password = one.start()["password"]
    assert one.output().count(password) == 1
    one.stop(signal.SIGTERM)

    again = one.start()
    assert again["password"] is None, "it is known to its owner only"
    assert one.output().count(password) == 1


def test_a_killed_supervisor_takes_everything_with_it(make_stack: MakeStack) -> None:
    one = make_stack()
    one.start()
    everything = one.everything()
    assert len(everything) > len(PARTS) + 2
    os.kill(one.ready()["pids"]["supervisor"], signal.SIGKILL)
    assert one.process is not None
    one.process.wait()
    until("the end of all processes", lambda: not [pid for pid in everything if alive(pid)])

    one.ready_file.unlink()
    one.start()  # and the next start finds nothing in its way


def test_two_stacks_live_side_by_side(make_stack: MakeStack) -> None:
    one, two = make_stack("one"), make_stack("two")
    first, second = one.start(), two.start()
    assert not set(first["pids"].values()) & set(second["pids"].values())
    one.stop()
    assert two.answers()
    assert all(alive(pid) for pid in two.pids().values())


@pytest.mark.parametrize("step", ["Trackside ", "database "])
def test_it_can_be_stopped_while_it_starts(make_stack: MakeStack, step: str) -> None:
    one = make_stack()
    process = one.launch()
    until(step, lambda: f"\n{step}" in f"\n{one.output()}", one.output)
    everything = one.everything()
    assert one.stop() == 0, one.output()
    assert process.returncode == 0
    assert not [pid for pid in everything if alive(pid)]


def test_a_setting_that_cannot_be_used_stops_the_start_with_a_line_that_names_it(make_stack: MakeStack) -> None:
    one = make_stack(TRACKSIDE_LEASE="soon")
    assert one.launch().wait(60) == 1
    assert "TRACKSIDE_LEASE='soon' is not a number." in one.output()
    assert "Traceback" not in one.output()


def test_a_second_start_is_refused_with_a_sentence_and_harms_nobody(stack: StandaloneStack) -> None:
    before = stack.pids()
    second = StandaloneStack(stack.home.parent / "second")
    second.home = stack.home
    assert second.launch().wait(60) == 1
    assert f"already runs in {stack.home} (process {before['supervisor']})" in second.output()

    third = StandaloneStack(stack.home.parent / "third", port=stack.port)
    assert third.launch().wait(60) == 1
    assert f"Cannot listen on 127.0.0.1:{stack.port}" in third.output()
    assert stack.pids() == before
    assert stack.answers()


def test_a_database_url_is_used_and_its_server_left_alone(make_stack: MakeStack) -> None:
    url = os.environ["DATABASE_URL"]
    name = f"standalone_{free_port()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            one = make_stack(DATABASE_URL=url.rpartition("/")[0] + f"/{name}")
            assert one.start()["pids"]["postgres"] is None
            assert not (one.home / "data").exists()
            assert one.stop() == 0
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
