"""An operator with ResumableJobMixin finds the job that an earlier try left, and starts one job only while that one lives."""

from __future__ import annotations

from typing import Any

import pytest

from trackside.sdk.dag import DAG
from trackside.sdk.operator import BaseOperator
from trackside.sdk.resumable import ResumableJobMixin


class Job(ResumableJobMixin, BaseOperator):
    """Notes what is asked of the other system."""

    external_id_key = "job"

    def __init__(self, *, status: str = "RUNNING", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.status, self.did = status, []

    def execute(self, context: Any) -> Any:
        return self.execute_resumable(context)

    def submit_job(self, context: Any) -> Any:
        self.did.append("submit")
        return "new"

    def get_job_status(self, external_id: Any, context: Any) -> str:
        self.did.append(f"status {external_id}")
        return self.status

    def is_job_active(self, status: str) -> bool:
        return status == "RUNNING"

    def is_job_succeeded(self, status: str) -> bool:
        return status == "SUCCEEDED"

    def poll_until_complete(self, external_id: Any, context: Any) -> Any:
        self.did.append(f"poll {external_id}")
        if self.status == "CRASH":
            raise SystemExit

    def get_job_result(self, external_id: Any, context: Any) -> Any:
        return f"result {external_id}"


class Store(dict):
    """A task's state store."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


def test_the_first_try_starts_the_job_and_keeps_its_id_before_it_waits():
    store, job = Store(), Job(task_id="t", status="CRASH")
    with pytest.raises(SystemExit):
        job.execute({"task_state_store": store})
    assert (store, job.did) == ({"job": "new"}, ["submit", "poll new"])


@pytest.mark.parametrize(
    ("status", "did", "result", "kept"),
    [
        ("RUNNING", ["status old", "poll old"], None, "old"),
        ("SUCCEEDED", ["status old"], "result old", "old"),
        ("FAILED", ["status old", "submit", "poll new"], "result new", "new"),
    ],
)
def test_the_next_try_asks_how_the_job_is_doing(status: str, did: list[str], result: str | None, kept: str):
    store, job = Store(job="old"), Job(task_id="t", status=status)
    assert job.execute({"task_state_store": store}) == result
    assert (job.did, store["job"]) == (did, kept)


def test_without_durable_every_try_starts_its_own_job():
    store = Store(job="old")
    with DAG("d", schedule=None, default_args={"durable": False}):
        job = Job(task_id="t")
    assert job.execute({"task_state_store": store}) == "result new"
    assert (job.did, store) == (["submit", "poll new"], {"job": "old"})


def test_where_there_is_no_store_the_job_is_started_with_a_warning(caplog: pytest.LogCaptureFixture):
    assert Job(task_id="t").execute({}) == "result new"
    assert "a crash starts the job again" in caplog.text
