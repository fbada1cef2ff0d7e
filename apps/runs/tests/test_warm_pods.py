"""Tries that share pods: who may have which, whatever gets lost on the way. The pods' side is in tests/executors/test_warm_pods.py."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from apps.runs import admission, sql, transitions
from apps.runs.actions import clearing
from apps.runs.execution import tokens
from apps.runs.executors import rows
from apps.runs.executors.service import Service
from apps.runs.models import Run, Try
from apps.runs.tests import support
from apps.runs.tests.statements import statements
from apps.runs.tests.support import ACTOR, woken  # noqa: F401
from apps.runs.tests.test_execution_routes import call, in_this_thread  # noqa: F401
from apps.runs.tests.test_executors import Told
from trackside.executors import registry
from trackside.executors.base import Submission, TryRef, Verdict

pytestmark = pytest.mark.django_db


class Sharing(Told):
    """Says of every try that pods of one key may have it."""

    key = "k" * 24

    def submit(self, refs: Sequence[TryRef]) -> list[Submission]:
        self.submitted += refs
        return [Submission(ref.id, Verdict.TAKEN, reuse_key=self.key) for ref in refs]


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    executors = registry.configured(["pods:kubernetes", "local"])
    with override_settings(EXECUTORS=executors, EXECUTOR_NAMES=registry.names(executors)):
        yield


@pytest.fixture
def sharing() -> Sharing:
    return Sharing()


def begun(sharing: Sharing, *tasks: str) -> Run:
    """A run whose tasks wait for a warm pod."""
    of = support.run(support.dag([support.task(name) for name in tasks or ("a", "b")]))
    Service(sharing).step()
    return of


def ask(place: str, key: str = Sharing.key) -> dict[str, Any]:
    status, answer = call("POST", "/warm/next", tokens.place_token(key, place, 60), {})
    assert status == 200
    return dict(answer)


def started(answer: dict[str, Any]) -> dict[str, Any]:
    status, order = call("POST", f"/tries/{answer['try_id']}/start", answer["start_token"], {"hostname": "pod"})
    assert status == 200
    return dict(order)


def test_each_pod_gets_another_try_and_the_same_one_until_it_has_started_it(sharing: Sharing) -> None:
    of = begun(sharing)
    first, second = ask("pod-1"), ask("pod-2")
    assert ask("pod-1") == first, "an answer that got lost is given again"
    assert {first["try_id"], second["try_id"]} == {str(support.ti(of, t).try_id) for t in ("a", "b")}
    assert ask("pod-3") == {}
    order = started(first)
    assert ask("pod-1") == {}, "as long as it runs, its pod gets no other"
    assert call("POST", f"/tries/{first['try_id']}/finish", order["token"], {"outcome": "success"})[0] == 200
    assert ask("pod-1") == {}, "the other one is pod-2's"
    place, facts = Try.objects.values_list("place", "facts").get(id=first["try_id"])
    assert (place, facts["pod"]) == ("pod-1", "pod-1")


def test_a_pod_has_one_try_after_the_other(sharing: Sharing) -> None:
    of = begun(sharing)
    for _ in range(2):
        order = started(ask("pod-1"))
        assert call("POST", f"/tries/{order['try_id']}/finish", order["token"], {"outcome": "success"})[0] == 200
    assert support.state(of) == "success"
    assert ask("pod-1") == {}


def test_pods_of_another_key_and_tokens_that_are_none_get_nothing(sharing: Sharing) -> None:
    begun(sharing)
    assert ask("pod-1", key="x" * 24) == {}
    good = tokens.place_token(Sharing.key, "pod-1", 60)
    old = tokens.place_token(Sharing.key, "pod-1", -1)
    other = good.replace("pod-1", "pod-2")
    for token in (old, other, settings.WORKER_TOKEN, "warm.a.b.c.d", "warm", tokens.start_token(uuid.uuid4())):
        assert call("POST", "/warm/next", token, {})[0] == 401
    assert call("POST", "/exchange", good, {})[0] == 401
    assert call("POST", "/logs", good, {"worker_id": str(uuid.uuid4()), "chunks": []})[0] == 401


def test_what_was_not_submitted_for_sharing_is_not_handed_out(sharing: Sharing) -> None:
    support.run(support.dag(support.chain("a")))
    Service(Told()).step()
    assert ask("pod-1") == {}
    assert ask("pod-1", key="") == {}


def test_a_try_that_waits_to_be_submitted_again_loses_its_pod(sharing: Sharing) -> None:
    begun(sharing, "a")
    handed = ask("pod-1")
    Try.objects.update(submitted_at=sql.now().replace(year=2025))
    sharing.again = True
    Service(sharing).step()
    assert ask("pod-2") == handed, "its pod is gone, another one gets it"
    assert sharing.submitted[-1].reuse_key == Sharing.key
    assert sharing.submitted[-1].place == "pod-1"


def test_a_cleared_try_keeps_its_pod_busy_until_its_end_is_confirmed(sharing: Sharing) -> None:
    of = begun(sharing, "a")
    order = started(ask("pod-1"))
    clearing.clear(clearing.ClearRequest("orders", run_pks=[of.pk], task_ids=["a"]), actor=ACTOR)
    Service(sharing).step()
    assert sharing.cancelled == {uuid.UUID(order["try_id"])}
    assert ask("pod-1") == {}
    (row,) = rows.live("pods").values()
    assert (row.known.place, row.known.state) == ("pod-1", "fenced")


def test_a_try_that_is_queued_anew_is_submitted_anew(sharing: Sharing) -> None:
    of = begun(sharing, "a")
    order = started(ask("pod-1"))
    body = {"outcome": "deferred", "trigger": {"classpath": "a.B", "kwargs": {}}, "next_method": "go", "next_kwargs": {}}
    assert call("POST", f"/tries/{order['try_id']}/finish", order["token"], body)[0] == 200
    assert support.states(of) == {"a": "deferred"}
    ti = support.ti(of, "a")
    transitions.resume([transitions.End(ti.pk, ti.try_id)], sql.now())
    admission.run_once(sql.now())
    row = Try.objects.get()
    assert (row.state, row.round, row.reuse_key, row.place) == ("queued", 2, "", "")


def test_asking_in_vain_is_one_statement(sharing: Sharing) -> None:
    begun(sharing)
    with statements() as asked:
        assert ask("pod-1", key="nothing-of-this") == {}
    assert len(asked) == 1


def test_the_index_is_used_by_what_every_parked_pod_asks(sharing: Sharing) -> None:
    from apps.runs.execution import warm

    begun(sharing)
    sql.run("SET LOCAL enable_seqscan = off")
    plan = "\n".join(r[0] for r in sql.rows("EXPLAIN " + warm._LOOK, {"key": Sharing.key, "place": "pod-1"}))
    assert "try_reuse" in plan
