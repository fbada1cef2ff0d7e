"""What REST calls cost in statements: constant in the number of rows, tasks and runs; prepared ones count like Django's own."""

from __future__ import annotations

from typing import Any

import pytest

from apps.access.tests.resthelp import Api
from apps.runs import wake
from apps.runs.tests.restworld import make_dag, make_run, make_ti, task
from apps.runs.tests.statements import statements

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake, "send", lambda *channels: None)


def trigger(api: Api, dag_id: str, **body: Any) -> dict[str, Any]:
    status, answer = api("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, **body})
    assert status == 200, answer
    return answer


def test_a_trigger_costs_the_same_for_few_and_many_tasks_and_runs() -> None:
    make_dag("small")
    make_dag("large", tasks=tuple(task(f"t{i}", downstream=[f"t{i + 1}"] if i < 199 else []) for i in range(200)))
    api, counts = Api("User"), []
    for dag_id, earlier_runs in (("small", 1), ("large", 1), ("small", 12)):
        for _ in range(earlier_runs):
            trigger(api, dag_id)
        with statements() as seen:
            trigger(api, dag_id)
        counts.append(len(seen))
    # who calls, DAG, version, clock, run, instances, event, trail, and the savepoint that the test's transaction makes of ours
    assert counts == [10, 10, 10]


def test_a_trigger_does_not_read_the_spec_again() -> None:
    make_dag("d")
    api = Api("User")
    trigger(api, "d")
    with statements() as seen:
        trigger(api, "d")
    assert not [s for s in seen if '"spec"' in s or "spec::" in s or '"source"' in s]


def test_the_answer_of_a_trigger_is_what_reading_the_run_gives() -> None:
    make_dag("d")
    api = Api("User")
    conf = {"b": 1, "a": [1.5, None, "é"], "huge": 10**30}
    bodies: tuple[dict[str, Any], ...] = (
        {},
        {"logical_date": "2026-03-01T12:00:00.123456+02:00", "note": "why not", "conf": conf},
        {
            "logical_date": "2026-03-02T00:00:00Z", "run_after": "2026-03-03T01:00:00+05:30",
            "data_interval_start": "2026-03-01T00:00:00-08:00", "data_interval_end": "2026-03-02T00:00:00-08:00",
        },
    )  # fmt: skip
    for body in bodies:
        made = trigger(api, "d", **body)
        assert made == api.get(f"/dags/d/dagRuns/{made['dag_run_id']}")[1]
    assert [len(run["dag_versions"]) for run in api.get("/dags/d/dagRuns")[1]["dag_runs"]] == [1, 1, 1]


def test_a_taken_run_id_or_date_is_named_and_leaves_nothing_behind() -> None:
    make_dag("d")
    api = Api("User")
    trigger(api, "d", dag_run_id="one", logical_date="2026-03-01T00:00:00Z")
    for body, word in (
        ({"dag_run_id": "one"}, "run id one"),
        ({"dag_run_id": "one", "logical_date": "2026-03-01T00:00:00Z"}, "run id one"),
        ({"dag_run_id": "two", "logical_date": "2026-03-01T00:00:00Z"}, "logical_date 2026-03-01"),
    ):
        status, answer = api("POST", "/dags/d/dagRuns", {"logical_date": None, **body})
        assert (status, word in answer["detail"]["message"]) == (409, True), answer
    assert api.get("/dags/d/dagRuns")[1]["total_entries"] == 1


def _world(dags: int, runs: int) -> None:
    for d in range(dags):
        dag = make_dag(f"d{dags}_{d}", tags=("one", "two"))
        for r in range(runs):
            make_ti(make_run(dag, f"r{r}", day=r), "extra")


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/dags", 4),
        ("/dags/~/dagRuns", 6),
        ("/dags/~/dagRuns/~/taskInstances", 7),
    ],
)
def test_a_page_costs_the_same_for_few_and_many_rows(path: str, most: int) -> None:
    api, counts, rows = Api("Viewer"), [], []
    for dags, runs in ((1, 1), (9, 4)):
        _world(dags, runs)
        api.get(path, limit=100)  # specs come into memory
        with statements() as seen:
            answer = api.get(path, limit=100)[1]
        counts.append(len(seen))
        rows.append(len(next(value for value in answer.values() if isinstance(value, list))))
    assert rows[1] >= 8 * rows[0]
    assert counts[0] == counts[1] <= most
