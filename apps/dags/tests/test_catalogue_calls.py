"""Pausing, unpausing and asking for a parse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.access.audit import Actor
from apps.access.models import AuditEvent
from apps.dags import catalogue, hooks
from apps.dags.models import Dag, DagFile
from trackside.core.timetables import DataInterval

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC)
ANN = Actor("ann", "rest")


def dag(dag_id: str = "a", **fields: object) -> Dag:
    daily = {"kind": "cron_interval", "cron": "0 0 * * *", "timezone": "UTC"}
    values = {"is_paused": True, "timetable": daily, "start_date": datetime(2026, 3, 1, tzinfo=UTC), **fields}
    return Dag.objects.create(dag_id=dag_id, dag_display_name=dag_id, fileloc="/x.py", **values)


def test_unpausing_without_catchup_plans_the_latest_interval() -> None:
    dag(catchup=False, next_run_after=datetime(2026, 3, 2, tzinfo=UTC))
    assert catalogue.set_paused(["a", "unknown"], False, actor=ANN, now=NOW) == ["a"]
    assert Dag.objects.get().next_interval_start == MIDNIGHT - DAY


def test_unpausing_with_catchup_goes_on_after_the_last_run() -> None:
    dag(catchup=True)
    hooks.register(last_automated_interval=lambda dag_id: DataInterval(MIDNIGHT - 5 * DAY, MIDNIGHT - 4 * DAY))
    catalogue.set_paused(["a"], False, actor=ANN, now=NOW)
    assert Dag.objects.get().next_interval_start == MIDNIGHT - 4 * DAY


def test_pausing_tells_listeners_and_the_audit_trail_about_what_changed_only() -> None:
    heard: list[tuple[list[str], str]] = []
    hooks.register(dag_changed=lambda ids, verb: heard.append((list(ids), verb)))
    dag("a", is_paused=False)
    dag("b", is_paused=True)
    assert catalogue.set_paused(["a", "b"], True, actor=ANN) == ["a"]
    assert catalogue.set_paused(["a", "b"], True, actor=ANN) == []
    assert heard == [(["a"], "paused")]
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.means, event.dag_id) == ("paused", "ann", "rest", "a")
    assert event.extra == {"before": {"is_paused": False}, "after": {"is_paused": True}}


def test_a_schedule_that_cannot_be_computed_does_not_stop_anybody(caplog) -> None:
    dag(timetable={"kind": "cron_trigger", "cron": "0 0 30 2 *", "timezone": "UTC"})
    catalogue.set_paused(["a"], False, actor=ANN, now=NOW)
    assert Dag.objects.get().next_run_after is None
    assert "no next run for DAG a" in caplog.text


def test_schedule_next_sets_and_returns_the_columns() -> None:
    row = dag(catchup=True)
    fields = catalogue.schedule_next(row, DataInterval(MIDNIGHT - DAY, MIDNIGHT), NOW)
    assert fields == {
        "next_logical_date": MIDNIGHT, "next_interval_start": MIDNIGHT, "next_interval_end": MIDNIGHT + DAY,
        "next_run_after": MIDNIGHT + DAY, "next_run_id": None,
    }  # fmt: skip
    assert {name: getattr(row, name) for name in catalogue.NEXT_COLUMNS} == fields
    row.refresh_from_db()
    assert row.next_run_after is None  # the caller saves


def test_asking_for_a_parse_marks_the_file() -> None:
    file = DagFile.objects.create(relative_path="x.py", path="/x.py")
    catalogue.request_parse(file, actor=ANN, now=NOW)
    file.refresh_from_db()
    assert file.reparse_requested_at == NOW
    assert AuditEvent.objects.get().object_id == "x.py"
