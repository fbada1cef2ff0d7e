"""Tasks of a mapped group go index by index, however late the group learns how many there are (rows 1.098 and 1.099)."""

from __future__ import annotations

from typing import Any

import pytest

from apps.runs.tests.support import Worker, dag, run, state, states, task, tick
from apps.runs.tests.support import woken as woken
from trackside.core.spec import GroupSpec

pytestmark = pytest.mark.django_db(transaction=True)

XCOM = {"__xcom__": {"kind": "plain", "task_id": "src", "key": "return_value"}}


def made(rule: str = "all_success") -> Any:
    """A run whose source has just said that there are three."""
    inside: dict[str, Any] = {"group_id": "g", "mapped_group_id": "g"}
    tasks = [
        task("src", "g.a"), task("g.a", "g.b", **inside), task("g.b", "g.c", trigger_rule=rule, **inside),
        task("g.c", has_work=False, **inside),
    ]  # fmt: skip
    group = GroupSpec("g", mapped=True, expand={"kind": "dict", "value": {"x": XCOM}})
    of = run(dag(tasks, groups=[group]))
    worker = Worker(8)
    xcom = {"key": "return_value", "value": [1, 2, 3], "length": 3}
    worker.do(of, "src", xcoms=[xcom], mapped_length=3)
    tick()
    return of, worker


def test_a_fast_index_does_not_wait_for_the_others_and_a_failed_one_fails_its_own_only() -> None:
    of, worker = made()
    worker.do(of, "g.a", map_index=1)
    worker.do(of, "g.b", map_index=1)
    assert (states(of)["g.b[1]"], states(of)["g.c[1]"], states(of)["g.b[0]"]) == ("success", "success", "none")
    worker.do(of, "g.a", "failed", map_index=0)
    worker.do(of, "g.a", map_index=2)
    worker.do(of, "g.b", map_index=2)
    found = states(of)
    assert (found["g.b[0]"], found["g.c[0]"]) == ("upstream_failed", "upstream_failed")
    assert (found["g.b[2]"], found["g.c[2]"]) == ("success", "success")
    assert state(of) == "failed"


def test_with_a_rule_that_some_can_satisfy_each_index_is_judged_by_its_own() -> None:
    of, worker = made("one_failed")
    for index, outcome in ((0, "success"), (1, "failed"), (2, "success")):
        worker.do(of, "g.a", outcome, map_index=index)
    tick()
    found = states(of)
    assert (found["g.b[0]"], found["g.b[1]"], found["g.b[2]"]) == ("skipped", "queued", "skipped")
