"""What was removed comes back: indexes of a mapped task whose input is longer again, tasks that the DAG has again (rows 1.119, 2.024)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apps.access.audit import Actor
from apps.runs.actions import clearing
from apps.runs.models import Run
from apps.runs.tests.support import Worker, dag, new_version, run, state, states, task, ti, tick
from apps.runs.tests.support import woken as woken
from trackside.core.spec import DagSpec

pytestmark = pytest.mark.django_db(transaction=True)
XCOM = {"__xcom__": {"kind": "plain", "task_id": "src", "key": "return_value"}}
ANNA = Actor("anna", "ui")


def say(of: Run, count: int) -> dict[str, str]:
    """The source says that there are so many, and every index that starts succeeds; how the indexes end."""
    said = {"xcoms": [{"key": "return_value", "value": list(range(count)), "length": count}], "mapped_length": count}
    Worker(8).work(lambda order: said if order["task_id"] == "src" else {})
    tick()
    return {name: found for name, found in states(of).items() if name.startswith("each")}


def again(of: Run) -> None:
    request = clearing.ClearRequest("orders", run_pks=[of.pk], task_ids=["src"], downstream=True)
    clearing.clear(request, actor=ANNA)
    tick()


@pytest.mark.parametrize("fewer", [1, 0])
def test_indexes_that_a_shorter_input_removed_run_again_when_it_is_longer(fewer: int) -> None:
    of = run(dag([task("src", "each"), task("each", mapped=True, expand={"kind": "dict", "value": {"v": XCOM}})]))
    assert set(say(of, 3).values()) == {"success"}
    again(of)
    assert list(say(of, fewer).values()).count("removed") == 3 - fewer
    assert state(of) == "success"
    again(of)
    assert say(of, 2) == {"each[0]": "success", "each[1]": "success", "each[2]": "removed"}
    assert (ti(of, "each", 0).try_number, state(of)) == (3 if fewer else 2, "success")


def test_a_task_that_a_version_lacks_and_the_next_has_again_takes_part_again() -> None:
    row = dag([task("a", "c"), task("c")])
    assert row.current_version is not None
    whole = DagSpec.from_dict(row.current_version.spec)
    of = run(row)
    Worker(1).take()  # a runs, so that the run goes on
    new_version(row, replace(whole, tasks=[t for t in whole.tasks if t.task_id != "c"]), 2)
    clearing.brain.touch([of.pk], of.updated_at)
    tick()
    assert states(of)["c"] == "removed"
    new_version(row, whole, 3)
    clearing.brain.touch([of.pk], of.updated_at)
    tick()
    assert states(of)["c"] == "none"
