"""Tries that share pods: who may have which, whatever gets lost on the way. The pods' side is in tests/executors/test_warm_pods.py."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from apps.runs import admission, sql, transitions
from apps.runs.actions import clearing
from apps.runs.execution import tokens
from apps.runs.executors import rows
from apps.runs.executors.service import Service
from apps.runs.models import Process, Run, Try
from apps.runs.tests import support
from apps.runs.tests.statements import statements
from apps.runs.tests.support import ACTOR, woken  # noqa: F401
from apps.runs.tests.test_execution_routes import call, in_this_thread  # noqa: F401
from apps.runs.tests.test_executors import Told
from trackside.executors import registry
from trackside.executors.base import Grant, Submission, TryRef, Verdict, config_digest

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


def granted(place: str = "pod-1", **fields: Any) -> str:
    """A token of a warm pod."""
    may = Grant(place, Sharing.key, "pods", "orders", config_digest({}), "as-made", 60)
    return tokens.place_token(replace(may, **fields))


_seq = itertools.count(1)


def tell(place: str, *, key: str = Sharing.key, site: str = "other", **body: Any) -> dict[str, Any]:
    """A call of a warm pod; unless `site` says otherwise, its executor has other settings by now, so that it gets what was submitted."""
    status, answer = call("POST", "/warm/next", granted(place, reuse_key=key, site=site), {"seq": next(_seq), **body})
    assert status == 200
    return dict(answer)


def ask(place: str, **more: Any) -> dict[str, Any]:
    """The order it gets, if any."""
    return tell(place, **more).get("order") or {}


def report(order: dict[str, Any], outcome: str = "success", **more: Any) -> dict[str, Any]:
    return {"try_id": order["try_id"], "token": order["token"], "outcome": outcome, **more}


def test_each_pod_gets_another_try_and_no_other_while_it_has_one(sharing: Sharing) -> None:
    of = begun(sharing)
    first, second = ask("pod-1"), ask("pod-2")
    assert {first["task_id"], second["task_id"]} == {"a", "b"}
    assert support.states(of) == {"a": "running", "b": "running"}
    assert ask("pod-3") == {}
    place, facts = Try.objects.values_list("place", "facts").get(id=first["try_id"])
    assert (place, facts["pod"]) == ("pod-1", "pod-1")


def test_the_report_of_one_brings_the_order_of_the_next(sharing: Sharing) -> None:
    of = begun(sharing)
    first = ask("pod-1")
    answer = tell("pod-1", finished=report(first))
    assert answer["finished"]["status"] == 200
    assert {first["task_id"], answer["order"]["task_id"]} == {"a", "b"}
    assert tell("pod-1", finished=report(answer["order"]), take=False) == {"finished": {"status": 200, "try_id": answer["order"]["try_id"]}}
    assert support.state(of) == "success"
    assert ask("pod-1") == {}


def test_an_answer_that_got_lost_is_given_again_and_its_token_is_void(sharing: Sharing) -> None:
    of = begun(sharing, "a")
    lost, order = ask("pod-1"), ask("pod-1")
    assert (lost["try_id"], support.states(of)) == (order["try_id"], {"a": "running"})
    assert lost["token"] != order["token"]
    assert call("POST", f"/tries/{lost['try_id']}/heartbeat", lost["token"], {})[0] == 410
    assert call("POST", f"/tries/{order['try_id']}/heartbeat", order["token"], {})[0] == 200
    assert Try.objects.get().number == 1


def test_a_late_call_takes_nothing_from_a_newer_one(sharing: Sharing) -> None:
    """A connection that broke may still be served after the pod has asked again."""
    begun(sharing)
    order = ask("pod-1", seq=8)
    assert ask("pod-1", seq=7) == {}
    assert call("POST", f"/tries/{order['try_id']}/heartbeat", order["token"], {})[0] == 200


def test_a_repeated_report_changes_nothing(sharing: Sharing) -> None:
    of = begun(sharing, "a")
    order = ask("pod-1")
    for outcome in ("success", "failed"):
        assert tell("pod-1", finished=report(order, outcome))["finished"]["status"] == 200
    assert support.states(of) == {"a": "success"}


def test_pods_of_another_key_and_tokens_that_are_none_get_nothing(sharing: Sharing) -> None:
    begun(sharing)
    assert ask("pod-1", key="x" * 24) == {}
    good, old = granted(), granted(seconds=-1)
    kind, body, mac = good.split(".")
    forged = f"{kind}.{granted(place='pod-2').split('.')[1]}.{mac}"
    for token in (old, forged, f"{kind}.{body}", settings.WORKER_TOKEN, "warm.a.b", "warm", tokens.start_token(uuid.uuid4())):
        assert call("POST", "/warm/next", token, {})[0] == 401
    assert call("POST", "/exchange", good, {})[0] == 401
    assert call("POST", "/logs", good, {"worker_id": str(uuid.uuid4()), "chunks": []})[0] == 401


def test_malformed_calls_are_refused_by_name(sharing: Sharing) -> None:
    for body in ({"seq": "one"}, {"wait_s": []}, {"finished": 3}):
        status, answer = call("POST", "/warm/next", granted(), body)
        assert status == 422
        assert next(iter(body)) in answer["detail"]


def test_what_was_not_submitted_for_sharing_is_not_handed_out(sharing: Sharing) -> None:
    support.run(support.dag(support.chain("a")))
    Service(Told()).step()
    assert ask("pod-1") == {}
    assert ask("pod-1", key="") == {}


def alive(**places: str) -> None:
    moment = sql.now()
    Process.objects.create(kind="executor", lease_until=moment + timedelta(minutes=1), info={"places": {"pods": "as-made"} | places})


def test_a_try_like_those_of_its_pod_need_not_be_submitted_first(sharing: Sharing) -> None:
    of = support.run(support.dag(support.chain("a", "b")))
    assert ask("pod-1", site="as-made") == {}, "no executor lives that would make such pods"
    alive()
    order = ask("pod-1", site="as-made")
    assert order["task_id"] == "a"
    following = tell("pod-1", site="as-made", finished=report(order))
    assert following["order"]["task_id"] == "b", "the end of one task brings the next one of the run"
    row = Try.objects.get(id=following["order"]["try_id"])
    assert (row.reuse_key, row.place, row.submissions, row.state) == (Sharing.key, "pod-1", 1, "running")
    Service(sharing).step()
    assert sharing.submitted == []
    assert support.states(of) == {"a": "success", "b": "running"}


def test_only_what_would_get_this_key_is_taken_ahead_of_its_submission(sharing: Sharing) -> None:
    support.run(support.dag(support.chain("a", executor_config={"reuse": True})))
    support.run(support.dag(support.chain("a"), "others"))
    support.run(support.dag([support.task("a", executor="local")], "elsewhere"))
    alive()
    assert ask("pod-1", site="as-made") == {}, "neither another wish, nor another DAG, nor another executor"
    assert call("POST", "/warm/next", granted(site="as-made", dag_id="elsewhere"), {"seq": 1})[1] == {}
    fitting = granted(site="as-made", config=config_digest({"reuse": True}))
    alive(pods="changed")
    assert call("POST", "/warm/next", fitting, {"seq": 1})[1] == {}, "another executor process has other settings already"
    Process.objects.filter(info__places__pods="changed").update(ended_at=sql.now())
    assert call("POST", "/warm/next", fitting, {"seq": 1})[1]["order"]["task_id"] == "a"


def test_a_try_that_waits_to_be_submitted_again_is_anybodys(sharing: Sharing) -> None:
    begun(sharing, "a")
    order = ask("pod-1")
    transitions.requeue([uuid.UUID(order["try_id"])], sql.now())
    sharing.again = True
    Try.objects.update(submitted_at=sql.now() - timedelta(minutes=1))
    assert ask("pod-2") == {}
    Service(sharing).step()
    assert (sharing.submitted[-1].reuse_key, sharing.submitted[-1].place) == (Sharing.key, "pod-1")
    assert ask("pod-2")["try_id"] == order["try_id"]


def test_a_cleared_try_keeps_its_pod_busy_until_its_end_is_confirmed(sharing: Sharing) -> None:
    of = begun(sharing, "a")
    order = ask("pod-1")
    clearing.clear(clearing.ClearRequest("orders", run_pks=[of.pk], task_ids=["a"]), actor=ACTOR)
    Service(sharing).step()
    assert sharing.cancelled == {uuid.UUID(order["try_id"])}
    assert ask("pod-1") == {}
    (row,) = rows.live("pods").values()
    assert (row.known.place, row.known.state) == ("pod-1", "fenced")
    assert tell("pod-1", finished=report(order, "killed"), take=False)["finished"]["status"] == 410
    assert Try.objects.get(id=order["try_id"]).kill_confirmed


def test_a_try_that_is_queued_anew_is_submitted_anew(sharing: Sharing) -> None:
    of = begun(sharing, "a")
    body = report(ask("pod-1"), "deferred", trigger={"classpath": "a.B", "kwargs": {}}, next_method="go", next_kwargs={})
    assert tell("pod-1", finished=body)["finished"]["status"] == 200
    assert support.states(of) == {"a": "deferred"}
    ti = support.ti(of, "a")
    transitions.resume([transitions.End(ti.pk, ti.try_id)], sql.now())
    admission.run_once(sql.now())
    row = Try.objects.get()
    assert (row.state, row.round, row.reuse_key, row.place) == ("queued", 2, "", "")


def test_asking_in_vain_is_two_statements(sharing: Sharing) -> None:
    begun(sharing)
    with statements() as asked:
        assert ask("pod-1", key="nothing-of-this") == {}
    assert len(asked) == 2


def test_the_index_is_used_by_what_every_parked_pod_asks(sharing: Sharing) -> None:
    from apps.runs.execution import warm

    begun(sharing)
    # beside many queued tries that share no pod, so that no other index is as good
    sql.run("""INSERT INTO runs_try SELECT other.* FROM (SELECT to_jsonb(t) AS row FROM runs_try t LIMIT 1) one, generate_series(2, 3000) n,
        jsonb_populate_record(NULL::runs_try, row || jsonb_build_object('id', gen_random_uuid(), 'number', n, 'reuse_key', '')) AS other""")
    sql.run("ANALYZE runs_try")
    plan = "\n".join(r[0] for r in sql.rows("EXPLAIN " + warm._LOOK, {"key": Sharing.key, "place": "pod-1", "seq": 1}))
    assert "try_reuse" in plan
