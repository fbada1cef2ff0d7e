"""Monitoring: what is counted, what a scrape costs, who may read it, and that dashboard and alerts ask for what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import OperationalError
from django.utils.module_loading import import_string
from httpx import ASGITransport, AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from apps.access import tokens
from apps.access.models import User
from apps.runs import processes, sql
from apps.runs.actions import clearing
from apps.runs.metrics import door, facts, families, health, rollup
from apps.runs.metrics.models import Tally
from apps.runs.tests import support
from apps.runs.tests.support import ACTOR, Worker, woken  # noqa: F401

MONITORING = Path(settings.ROOT) / "deploy/monitoring"
real_transactions = pytest.mark.django_db(transaction=True)


def sample(name: str, **labels: str) -> float:
    """The value of one sample of a scrape."""
    for family in text_string_to_metric_families(door.text().decode()):
        for one in family.samples:
            if one.name == name and all(one.labels.get(k) == v for k, v in labels.items()):
                return one.value
    raise AssertionError(f"no {name} {labels} in the answer")


def add_up() -> int:
    """Everything that is committed. Another database's open transaction may hide rows for a moment, so until nothing comes."""
    total = 0
    while added := rollup.run_once():
        total += added
    return total


@pytest.fixture
def ran() -> Iterator[Any]:
    """A chain of two tasks, run to its end."""
    support.dag(support.chain("a", "b"), "orders")
    run = support.run("orders")
    Worker().work()
    assert support.states(run) == {"a": "success", "b": "success"}
    yield run


# --- counters ---------------------------------------------------------------------------------------------------------------
@real_transactions
def test_what_happened_is_counted_once_whoever_adds_it_up_and_however_often(ran: Any) -> None:
    assert add_up() > 0
    finished = {
        (t.name, t.label): t.count for t in Tally.objects.filter(dag_id="orders", name__in=("ti_finish", "run_begun", "run_duration"))
    }
    assert finished == {("ti_finish", "success"): 2, ("run_begun", "manual"): 1, ("run_duration", "success"): 1}
    assert add_up() == 0
    assert sample("airflow_ti_finish_total", dag_id="orders", state="success") == 2
    assert sample("airflow_ti_successes_total") == 2 and sample("airflow_dagrun_duration_success_seconds_count", dag_id="orders") == 1

    support.run("orders")
    Worker().work()
    add_up()
    assert sample("airflow_ti_finish_total", dag_id="orders", state="success") == 4


@real_transactions
def test_the_gap_is_that_between_a_task_and_the_last_one_above_it(ran: Any) -> None:
    add_up()
    gap = Tally.objects.get(name="task_gap")
    between = (support.ti(ran, "b").start_date - support.ti(ran, "a").end_date).total_seconds()  # type: ignore[operator]
    assert gap.count == 1 and gap.total == pytest.approx(between) and sum(gap.buckets) == 1
    assert sample("trackside_task_gap_seconds_bucket", le="+Inf") == 1
    assert sample("airflow_task_queued_duration_seconds_count", queue="default") == 2


@real_transactions
def test_a_cleared_task_does_not_look_like_a_gap(ran: Any) -> None:
    add_up()
    clearing.clear(clearing.ClearRequest("orders", run_pks=[ran.pk], task_ids=["a"]), actor=ACTOR)
    support.tick()
    Worker().work()
    add_up()
    assert Tally.objects.get(name="task_gap").count == 1


@real_transactions
def test_a_database_that_came_from_another_server_is_counted_from_here_on(ran: Any) -> None:
    add_up()
    before = Tally.objects.get(name="ti_finish", dag_id="orders", label="success").count
    sql.run("UPDATE runs_event SET xid = (pg_current_xact_id()::text::bigint + 1000000)::text::xid8")
    sql.run("UPDATE runs_tallycursor SET xid = (SELECT max(xid::text::bigint) FROM runs_event)")
    rollup.run_once()
    support.run("orders")
    Worker().work()
    add_up()
    assert Tally.objects.get(name="ti_finish", dag_id="orders", label="success").count == before + 2


@real_transactions
def test_sums_of_deleted_dags_go(ran: Any) -> None:
    add_up()
    sql.run("UPDATE runs_tally SET dag_id = 'gone' WHERE name = 'ti_finish'")
    assert rollup.tidy() == 1 and not Tally.objects.filter(dag_id="gone").exists() and Tally.objects.filter(dag_id="orders").exists()


# --- this moment ------------------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_what_waits_is_told_with_its_reason_pool_and_age() -> None:
    support.pool("narrow", 1)
    support.dag([support.task("a", pool="narrow"), support.task("b", pool="narrow")], "orders")
    support.run("orders")
    support.tick()
    assert sample("airflow_pool_open_slots", pool_name="narrow") == 0 and sample("airflow_pool_starving_tasks", pool_name="narrow") == 1
    assert sample("trackside_waiting_tasks", state="scheduled", reason="pool_full") == 1
    assert sample("trackside_scheduled_age_seconds", pool="narrow") >= 0
    assert sample("trackside_queued_tries", queue="default", executor="local") == 1
    assert sample("airflow_executor_queued_tasks", executor="local") == 1
    assert sample("trackside_queue_age_seconds", queue="default", executor="local") >= 0
    assert sample("airflow_scheduler_dagruns_running") == 1


@pytest.mark.django_db
def test_a_scrape_costs_the_same_number_of_statements_however_much_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    rows = sql.rows
    monkeypatch.setattr(facts.sql, "rows", lambda statement, *more: said.append(statement) or rows(statement, *more))
    door.text()
    empty, said[:] = len(said), []
    for n in range(5):
        support.dag(support.chain("a", "b", "c"), f"orders{n}")
        for _ in range(3):
            support.run(f"orders{n}", begin=False)
    support.tick(2)
    said.clear()
    door.text()
    assert len(said) == empty == facts.STATEMENTS


@pytest.mark.django_db
def test_what_a_scrape_asks_of_the_large_tables_is_answered_by_partial_indexes() -> None:
    """The statements on task instances, runs and tries must not read finished rows."""
    sql.run("SET enable_seqscan = off")
    for statement in (facts._TASKS, facts._RUNS, facts._TRIES):
        plan = "\n".join(r[0] for r in sql.rows(f"EXPLAIN {statement}"))
        assert "Seq Scan" not in plan
        assert set(re.findall(r"(?:Index(?: Only)? Scan using|Bitmap Index Scan on) (\w+)", plan)) <= {
            "ti_scheduled", "ti_occupying", "run_due", "run_open", "try_queued",
        }  # fmt: skip


@pytest.mark.django_db
def test_without_a_database_a_scrape_says_so_instead_of_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(facts, "read", away)
    monkeypatch.setattr(door.connection, "close", lambda: None)
    assert sample("trackside_database_up") == 0 and sample("process_resident_memory_bytes") > 0


# --- dashboard and alerts ---------------------------------------------------------------------------------------------------
_METRIC = re.compile(r"\b(?:airflow|trackside|process)_[a-z_]+")


def _asked() -> dict[str, set[str]]:
    """Where → names of metrics."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    asked = {
        p["title"]: {m for t in p.get("targets", ()) for m in _METRIC.findall(t["expr"])} for p in dashboard["panels"] if p["type"] != "row"
    }
    asked |= {v["name"]: set(_METRIC.findall(v["query"]["query"])) for v in dashboard["templating"]["list"] if v["type"] == "query"}
    return asked | {r["alert"]: set(_METRIC.findall(r["expr"])) for r in rules}


@real_transactions
def test_every_metric_that_dashboard_and_alerts_ask_for_exists(ran: Any) -> None:
    add_up()
    found = list(text_string_to_metric_families(door.text().decode()))
    names = {s.name for f in found for s in f.samples}
    for family in found:  # those that have no sample now
        endings = {"counter": ("_total",), "summary": ("_count", "_sum"), "histogram": ("_bucket", "_count", "_sum")}.get(
            family.type, ("",)
        )
        names |= {family.name + ending for ending in endings}
    asked = _asked()
    assert len(asked) > 40 and all(asked.values())
    missing = {where: sorted(metrics - names) for where, metrics in asked.items() if metrics - names}
    assert missing == {}


def test_every_alert_says_what_to_do() -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert [
        r["alert"]
        for r in rules
        if not r["annotations"].get("description") or r["labels"]["severity"] not in ("critical", "warning", "info")
    ] == []
    guide = (Path(settings.ROOT) / "docs/operations.md").read_text()
    assert [r["alert"] for r in rules if f"`{r['alert']}`" not in guide] == []


def test_every_metric_of_ours_is_in_the_guide() -> None:
    guide = (Path(settings.ROOT) / "docs/operations.md").read_text()
    empty = facts.Facts(site=(0,) * 11)
    names = {family.name for family in families.families(empty)}
    assert sorted(n for n in names if n not in guide) == []


# --- who may read, and health ------------------------------------------------------------------------------------------------
def ask(path: str, **headers: str) -> Any:
    """GET from the ASGI application that probes and Prometheus meet, by an address that is no allowed host."""
    application = import_string(settings.ASGI_APPLICATION)

    async def call() -> Any:
        async with AsyncClient(transport=ASGITransport(app=application), base_url="http://10.1.2.3:8080") as client:
            return await client.get(path, headers=headers)

    return async_to_sync(call)()


@real_transactions
def test_metrics_are_not_for_everybody(settings: Any) -> None:
    assert ask("/metrics").status_code == 401
    settings.METRICS_TOKEN = "scrape-me"
    assert ask("/metrics", Authorization="Bearer wrong").status_code == 401
    allowed = ask("/metrics", Authorization="Bearer scrape-me")
    assert (
        allowed.status_code == 200 and allowed.headers["content-type"].startswith("text/plain") and "trackside_build_info" in allowed.text
    )
    nobody = User.objects.create_user("nobody", password="x")
    assert ask("/metrics", Authorization=f"Bearer {tokens.make_api_token(nobody, 'prometheus')}").status_code == 403
    reader = User.objects.create_superuser("reader", password="x")
    assert ask("/metrics", Authorization=f"Bearer {tokens.make_api_token(reader, 'prometheus')}").status_code == 200
    settings.METRICS_OPEN = True
    assert ask("/metrics").status_code == 200


@real_transactions
def test_the_whole_is_well_when_every_process_that_must_exist_answers() -> None:
    assert ask("/health/live").json() == {"status": "alive"} and ask("/health/ready").json() == {"status": "ready"}
    sick = ask("/health")
    assert sick.status_code == 503 and sick.json()["scheduler"]["why"] == "No scheduler answers. Start one: trackside scheduler"
    for kind in ("scheduler", "dag_processor", "worker"):
        processes.register(kind, lease=60)
    well = ask("/health")
    assert well.status_code == 200 and well.json()["status"] == "healthy" and well.json()["worker"]["alive"] == 1


@real_transactions
def test_a_process_is_not_ready_without_its_database_or_its_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_ready", False)
    with monkeypatch.context() as m:
        m.setattr(health, "pending_migrations", lambda: ["runs.0099_more"])
        late = ask("/health/ready")
        assert late.status_code == 503 and "trackside db upgrade" in late.json()["why"]

    def away(*_: Any) -> None:
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr(health.sql, "rows", away)
    assert ask("/health/ready").json() == {"status": "not ready", "why": "The database does not answer: connection refused"}
    assert ask("/health").status_code == 503 and ask("/health/live").status_code == 200


@real_transactions
def test_a_request_keeps_its_id_and_a_harmful_one_is_replaced() -> None:
    assert ask("/health/live", **{"X-Request-ID": "deploy-42"}).headers["x-request-id"] == "deploy-42"
    made = ask("/health/live", **{"X-Request-ID": 'a" onload="'}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)
