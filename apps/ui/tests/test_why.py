"""The chain from the last task back to what holds the run up."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from apps.ui.queries import runs, why
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


def chain(states: dict[str, str]) -> list[str]:
    run = factories.run(factories.dag(task_ids=["a", "b", "c", "d"]), state="running", states=states)
    structure = runs.version_structure(runs.get("orders", run.run_id))
    return [line.task_id for line in why.chain(runs.task_lines(run, structure), structure)]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"a": "success", "b": "failed", "c": "upstream_failed", "d": "upstream_failed"}, ["d", "c", "b"]),
        ({"a": "success", "b": "success", "c": "queued"}, ["d", "c"]),
        ({"a": "success", "b": "success", "c": "success", "d": "running"}, ["d"]),
        (dict.fromkeys("abcd", "success"), []),
        ({"a": "success", "b": "skipped", "c": "skipped", "d": "skipped"}, []),
    ],
)
def test_the_chain_ends_at_the_cause(states: dict[str, str], expected: list[str]) -> None:
    assert chain(states) == expected


def test_a_long_chain_keeps_its_ends() -> None:
    run = factories.run(factories.dag(task_ids=[f"t{k:02}" for k in range(40)]), state="running", states={"t00": "failed"})
    structure = runs.version_structure(runs.get("orders", run.run_id))
    found = why.chain(runs.task_lines(run, structure), structure)
    assert len(found) == why.SHOWN and (found[0].task_id, found[-1].task_id) == ("t39", "t00")


def test_the_page_of_a_run_tells_the_chain_from_its_cause(client: Client) -> None:
    states = {"extract": "failed", "load": "upstream_failed", "check": "upstream_failed"}
    run = factories.run(factories.dag(), state="failed", states=states)
    client.force_login(factories.user())
    page = client.get(reverse("run", args=["orders", run.run_id])).content.decode()
    assert "3 tasks back to the cause" in page
    assert page.index("This holds up what follows.") < page.index("upstream failed")
