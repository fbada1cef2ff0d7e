"""A download that is refused twice succeeds on its third try, after growing pauses."""

from __future__ import annotations

import itertools
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.server import Server

pytestmark = pytest.mark.e2e


def tries_of(trackside: Server, run_id: str, task_id: str) -> list[dict]:
    found = trackside.get(f"/dags/flaky_download/dagRuns/{run_id}/taskInstances/{task_id}/tries")["task_instances"]
    return sorted(found, key=lambda t: t["try_number"])


def test_the_third_try_gets_the_file(trackside: Server, tmp_path: Path):
    run = trackside.run_dag("flaky_download", {"data_folder": str(tmp_path)})
    run_id = run["dag_run_id"]
    assert run["state"] == "success", trackside.describe("flaky_download", run_id)
    assert trackside.value("flaky_download", run_id, "download")["tries"] == 3
    tries = tries_of(trackside, run_id, "download")
    assert [t["try_number"] for t in tries] == [1, 2, 3] and tries[-1]["state"] == "success"
    moments = [(datetime.fromisoformat(t["start_date"]), datetime.fromisoformat(t["end_date"])) for t in tries]
    pauses = [(later[0] - earlier[1]).total_seconds() for earlier, later in itertools.pairwise(moments)]
    assert min(pauses) >= 1.0  # the retry delay is a lower bound
    assert "503" in trackside.wait_log("503", "flaky_download", run_id, "download", try_number=1)


def test_more_failures_than_retries_fail_the_run_and_leave_no_file(trackside: Server, tmp_path: Path):
    run = trackside.run_dag("flaky_download", {"data_folder": str(tmp_path), "failures": 10}, seconds=90)
    run_id = run["dag_run_id"]
    assert run["state"] == "failed"
    assert len(tries_of(trackside, run_id, "download")) == 4
    assert trackside.states("flaky_download", run_id)["verify"] == "upstream_failed"
    assert not list(tmp_path.rglob("download"))


def test_a_local_file_is_no_url(trackside: Server, tmp_path: Path):
    trackside.unpause("flaky_download")
    run_id = trackside.trigger("flaky_download", {"url": "file:///etc/hostname", "data_folder": str(tmp_path)})
    trackside.wait_log("must begin with http", "flaky_download", run_id, "download")
    trackside.call("PATCH", f"/dags/flaky_download/dagRuns/{run_id}", json={"state": "failed"})
    assert not list(tmp_path.rglob("download"))
