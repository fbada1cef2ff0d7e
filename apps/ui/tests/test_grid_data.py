"""The grid's data: columns that say the truth, in few statements and few bytes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from apps.access.audit import Actor
from apps.runs.actions import deletion, marking
from apps.runs.models import TaskInstance
from apps.ui.queries import columns
from apps.ui.queries.grid import CODES, STATES, packed, unpacked
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def load(client: Client, dag_id: str = "orders", query: str = "") -> dict[str, Any]:
    return client.get(reverse("grid_data", args=[dag_id]) + query).json()


def cell(data: dict[str, Any], task: str, run_id: str) -> str | None:
    column = unpacked(data["cells"][data["runs"]["id"].index(run_id)])
    assert len(column) == len(data["rows"]["id"])
    return STATES.get(column[data["rows"]["id"].index(task)])


def test_each_cell_is_the_state_of_its_task_in_its_run(mara: Client) -> None:
    dag = factories.dag("orders", [f"t{k}" for k in range(len(CODES))])
    states = dict(zip([f"t{k}" for k in range(len(CODES))], CODES, strict=True))
    first = factories.run(dag, at=now() - timedelta(hours=1))
    second = factories.run(dag, state="running", states=states)
    data = load(mara)
    assert data["runs"]["id"] == [first.run_id, second.run_id]
    assert {t: cell(data, t, second.run_id) for t in states} == states
    assert {cell(data, t, first.run_id) for t in states} == {"success"}


def test_a_mapped_task_is_its_worst_instance_with_counts_beside_it(mara: Client) -> None:
    dag = factories.dag()
    run = factories.run(dag, state="running")
    TaskInstance.objects.filter(run=run, task_id="load").update(map_index=0, state="success")
    for k, state in enumerate(["success", "running", "queued"], 1):
        TaskInstance.objects.create(run=run, dag_id="orders", task_id="load", map_index=k, state=state)
    data = load(mara)
    assert cell(data, "load", run.run_id) == "running"
    row = str(data["rows"]["id"].index("load"))
    assert data["mapped"][row]["0"] == {CODES["success"]: 2, CODES["running"]: 1, CODES["queued"]: 1}


def test_groups_come_before_their_members_and_tasks_that_left_the_dag_stay_visible(mara: Client) -> None:
    dag = factories.dag(made=factories.spec("orders", ["start", "g.a", "g.b"], {"g": ["g.a", "g.b"]}))
    run = factories.run(dag)
    TaskInstance.objects.create(run=run, dag_id="orders", task_id="gone", state="removed")
    rows = load(mara)["rows"]
    assert rows["id"] == ["start", "g", "g.a", "g.b", "gone"]
    assert rows["depth"] == [0, 0, 1, 1, 0] and rows["parent"] == [-1, -1, 1, 1, -1] and rows["gone"] == 4


def test_a_task_that_a_run_does_not_have_is_an_empty_cell(mara: Client) -> None:
    dag = factories.dag()
    run = factories.run(dag)
    TaskInstance.objects.filter(run=run, task_id="load").delete()
    assert cell(load(mara), "load", run.run_id) is None


def test_single_columns_and_older_runs_can_be_asked_for(mara: Client) -> None:
    dag = factories.dag()
    runs = [factories.run(dag, at=now() - timedelta(hours=5 - k)) for k in range(5)]
    assert load(mara, query=f"?run={runs[1].pk}&run={runs[3].pk}")["runs"]["pk"] == [runs[1].pk, runs[3].pk]
    newest = load(mara, query="?runs=2")
    assert newest["runs"]["pk"] == [runs[3].pk, runs[4].pk]
    assert load(mara, query=f"?runs=2&before={runs[3].pk}")["runs"]["pk"] == [runs[1].pk, runs[2].pk]


def test_columns_of_ended_runs_are_read_once_and_again_when_somebody_changed_them(mara: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "mark", lambda: 0)  # every reading counts as settled: the test's own transaction stays open
    dag = factories.dag()
    ended, other = factories.run(dag, at=now() - timedelta(hours=1)), factories.run(dag)
    going = factories.run(dag, state="running", states={"load": "running"}, at=now() + timedelta(hours=1))
    first = load(mara)
    with CaptureQueriesContext(connection) as caught:
        again = load(mara)
    asked = [q["sql"] for q in caught if "string_agg" in q["sql"]]
    assert {**again, "cursor": ""} == {**first, "cursor": ""}
    assert len(asked) == 1 and f"[{going.pk}]" in asked[0].replace("{", "[").replace("}", "]"), "only the run that goes on"
    actor = Actor("mara", "page")
    marking.mark(marking.MarkRequest(ended, ["load"], "failed"), actor=actor)
    deletion.delete_task_instance(TaskInstance.objects.get(run=other, task_id="load"), actor=actor)
    data = load(mara)
    assert cell(data, "load", ended.run_id) == "failed" and cell(data, "load", other.run_id) is None
    fresh = {**load(mara), "cursor": ""}
    columns.forget()
    assert fresh == {**load(mara), "cursor": ""}


def test_a_column_is_kept_only_when_all_that_was_open_before_it_has_ended() -> None:
    columns.forget()
    run, column = (7, "r7", "manual", "success", 41), columns.Column("e3", {}, {})
    columns.keep("shape", [run], {7: column}, drawn=900, horizon=880)
    assert columns.known("shape", [run]) == ({}, [run])
    columns.keep("shape", [run], {7: column}, drawn=950, horizon=899)
    assert columns.known("shape", [run]) == ({}, [run])
    columns.keep("shape", [run], {7: column}, drawn=990, horizon=900)  # since 900 was drawn, that newest event is known
    assert columns.known("shape", [run]) == ({7: column}, [])
    for changed in ((*run[:4], 42), (*run[:3], "running", 41)):
        assert columns.known("shape", [changed]) == ({}, [changed])
    assert columns.known("another shape", [run]) == ({}, [run])
    columns.forget()


@pytest.mark.parametrize("letters", ["", "e", "ee", "eeef", "a" * 1000, "....ee.nnnn", "ffeeeeeeeeeeeeg"])
def test_packed_columns_say_the_same(letters: str) -> None:
    assert unpacked(packed(letters)) == letters
    assert len(packed(letters)) <= len(letters)


def test_the_grid_costs_the_same_statements_and_few_bytes_however_large_it_is(mara: Client) -> None:
    small = factories.dag("small")
    factories.run(small)
    large = factories.dag("large", [f"task_number_{k}" for k in range(400)])
    for k in range(10):
        factories.run(large, at=now() - timedelta(hours=k))
    counts, sizes = [], []
    for name in ("small", "large"):
        load(mara, name)  # the structure is cached from now on
        with CaptureQueriesContext(connection) as caught:
            sizes.append(len(mara.get(reverse("grid_data", args=[name])).content))
        counts.append(len(caught))
    assert counts[0] == counts[1] <= 7  # session, user, DAG, cursor, runs, mark, cells
    assert sizes[1] < 400 * 60 + 10 * 400, "less than one byte a cell beside the names"
