"""What `wait(progress=True)` shows; in a real notebook it is the same HTML, written into the cell's output."""

from __future__ import annotations

import httpx
import pytest

from trackside.client import Client
from trackside.client.progress import as_html, summary

RUN = {"dag_id": "<b>", "dag_run_id": "r", "state": "running"}


def tasks(**states: str | None) -> list[dict[str, object]]:
    return [{"task_id": name, "map_index": -1, "state": state} for name, state in states.items()]


def test_the_summary_counts_what_has_ended() -> None:
    assert summary(RUN, tasks(a="success", b="skipped", c="running", d=None)) == (2, "running (1 running, 1 skipped, 1 success, 1 waiting)")


def test_a_notebook_shows_the_bar_and_names_what_runs_or_failed_with_names_escaped() -> None:
    shown = as_html(RUN, [*tasks(a="success", b=None), {"task_id": "<i>", "map_index": 3, "state": "failed"}])
    assert "<b>&lt;b&gt;</b>" in shown and "&lt;i&gt;[3] failed" in shown and "<i>" not in shown
    assert "width:33.3%" in shown and "1 of 3" not in shown and "2 of 3 done" in shown
    many = as_html(RUN, [{"task_id": f"t{n}", "map_index": -1, "state": "running"} for n in range(20)])
    assert "t7 running" in many and "t8 running" not in many and "and 12 more" in many


def test_waiting_tells_each_change_once_and_ends_with_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    states = iter(["queued", "running", "running", "success"])
    now = {"state": "queued"}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/taskInstances"):
            state = "success" if now["state"] == "success" else "running"
            return httpx.Response(200, json={"task_instances": [{"task_id": "a", "map_index": -1, "state": state}], "total_entries": 1})
        now["state"] = next(states)
        return httpx.Response(200, json={**RUN, "state": now["state"]})

    with Client("http://server", transport=httpx.MockTransport(answer)) as client:
        assert client.wait("d", "r", progress=True, pause=0)["state"] == "success"
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["0/1 done, queued (1 running)", "0/1 done, running (1 running)", "1/1 done, success (1 success)"]
