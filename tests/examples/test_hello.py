"""The first example: it talks while it runs, fails when asked to, and a clear mends it."""

from __future__ import annotations

import pytest

from tests.support.server import Refused, Server, until

pytestmark = pytest.mark.e2e


def test_it_greets_whom_the_form_names(trackside: Server):
    run = trackside.run_dag("hello", {"name": "Ada; $(touch /tmp/x)", "seconds": 0})
    assert run["state"] == "success"
    assert trackside.value("hello", run["dag_run_id"], "greet") == "Hello, Ada; $(touch /tmp/x)!"
    assert trackside.states("hello", run["dag_run_id"]) == dict.fromkeys(("greet", "talk", "say_goodbye"), "success")


def test_its_lines_can_be_read_while_it_still_runs(trackside: Server):
    trackside.unpause("hello")
    run_id = trackside.trigger("hello", {"seconds": 20})
    log = trackside.wait_log("2 of 20: still here", "hello", run_id, "talk")
    assert "20 of 20" not in log
    assert trackside.run("hello", run_id)["state"] == "running"
    trackside.call("PATCH", f"/dags/hello/dagRuns/{run_id}", json={"state": "failed"})
    assert trackside.wait_run("hello", run_id)["state"] == "failed"


def test_see_it_fail_clear_it_see_it_succeed(trackside: Server):
    run = trackside.run_dag("hello", {"seconds": 1, "fail": True})
    run_id = run["dag_run_id"]
    assert run["state"] == "failed"
    states = trackside.states("hello", run_id)
    assert (states["talk"], states["say_goodbye"]) == ("failed", "upstream_failed")
    assert "You asked for a failure" in trackside.wait_log("You asked", "hello", run_id, "talk")
    trackside.clear("hello", run_id, "talk")
    assert trackside.wait_run("hello", run_id)["state"] == "success"
    talk = next(t for t in trackside.tasks("hello", run_id) if t["task_id"] == "talk")
    assert talk["try_number"] == 2
    assert "Done on try 2." in trackside.wait_log("Done on try", "hello", run_id, "talk", try_number=2)
    assert "You asked" in trackside.log_of("hello", run_id, "talk", 1)


def test_params_that_the_form_would_refuse_are_refused(trackside: Server):
    trackside.unpause("hello")
    with pytest.raises(Refused) as refused:
        trackside.trigger("hello", {"seconds": "many"})
    assert refused.value.status in (400, 422) and "seconds" in refused.value.body


def test_two_runs_at_once_do_not_wait_for_each_other(trackside: Server):
    trackside.unpause("hello")
    runs = [trackside.trigger("hello", {"seconds": 3}) for _ in range(2)]

    def both_talk() -> bool:
        return all(trackside.states("hello", run).get("talk") == "running" for run in runs)

    until(both_talk, "both runs talk", 30)
    assert {trackside.wait_run("hello", run)["state"] for run in runs} == {"success"}
