"""Home's lanes: what ran in the last day, what is planned, what is late; the same statements for any number of rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from apps.dags.models import DagFavorite
from apps.ui.queries import calendar, lanes
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)
HOURLY = {"kind": "cron_trigger", "cron": "0 * * * *", "timezone": "UTC"}


def test_runs_stand_at_their_time_and_planned_ones_ahead() -> None:
    dag = factories.dag(timetable=HOURLY, next_run_after=NOON + timedelta(hours=1))
    factories.run(dag, at=NOON - timedelta(hours=12), state="failed")
    factories.run(dag, at=NOON - timedelta(hours=60))
    (lane,) = lanes.board(factories.user(), NOON)["lanes"]
    assert [(b.x, b.state) for b in lane.bars] == [(40.0, "failed")]
    assert lane.planned[0] == pytest.approx(25 / 30 * 100, abs=0.01) and len(lane.planned) == 6
    assert lane.spoken.startswith("1 run, 1 failed")


def test_favourites_come_first_then_what_fails() -> None:
    user = factories.user()
    for name, state in [("a_good", "success"), ("b_bad", "failed"), ("c_star", "success")]:
        factories.run(factories.dag(name), at=NOON - timedelta(hours=1), state=state)
    DagFavorite.objects.create(dag_id="c_star", user=user)
    assert [lane.dag.dag_id for lane in lanes.board(user, NOON)["lanes"]] == ["c_star", "b_bad", "a_good"]


def test_what_is_due_and_not_created_is_late_with_its_reason(client: Client) -> None:
    factories.dag(timetable=HOURLY, next_run_after=now() - timedelta(minutes=5), blocked_reason="3 runs are running.")
    client.force_login(factories.user())
    page = client.get(reverse("home")).content.decode()
    assert "1 run late" in page and "3 runs are running." in page


def test_home_needs_the_same_statements_for_any_number_of_dags_and_runs(client: Client) -> None:
    client.force_login(factories.user())

    def statements() -> int:
        with CaptureQueriesContext(connection) as caught:
            assert client.get(reverse("home")).status_code == 200
        return len(caught)

    made: Any = factories.dag("first", timetable=HOURLY, next_run_after=now() + timedelta(minutes=5))
    factories.run(made, state="running")
    factories.run(factories.dag("bad"), state="failed", states={"load": "failed"})
    few = statements()
    for k in range(8):
        made = factories.dag(f"d{k}", timetable=HOURLY, next_run_after=now() + timedelta(minutes=5))
        for j in range(3):
            factories.run(made, state=["failed", "running", "success"][j], at=now() - timedelta(hours=j))
    assert statements() == few <= 19


def test_the_calendar_counts_runs_per_day_and_outlines_planned_ones(client: Client) -> None:
    dag = factories.dag(timetable=HOURLY, next_run_after=NOON + timedelta(hours=1))
    for state in ("success", "success", "failed"):
        factories.run(dag, at=NOON - timedelta(days=1), state=state)
    days = {d.day: d for week in calendar.weeks(dag, NOON) for d in week}
    assert days[NOON.date() - timedelta(days=1)].text == "1 failed, 2 success"
    assert days[NOON.date()].planned == 11 and days[NOON.date() + timedelta(days=1)].planned == 24
    client.force_login(factories.user())
    assert client.get(reverse("dag_calendar", args=["orders"])).status_code == 200
