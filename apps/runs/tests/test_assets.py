"""Asset events come from tasks that succeeded, queue their consumers, and start runs when a condition is met."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from apps.dags import assets
from apps.dags.models import Asset, AssetUse, Dag
from apps.runs import sql
from apps.runs.assets import consumers, events, reading, turns
from apps.runs.assets.models import AssetEvent, QueuedAsset
from apps.runs.models import Run
from apps.runs.tests.support import Worker, chain, dag, new_version, run, state, task, tick
from apps.runs.tests.support import woken as woken
from trackside.core.spec import DagSpec

pytestmark = pytest.mark.django_db(transaction=True)


def named(name: str) -> dict[str, Any]:
    return {"asset": {"name": name, "uri": f"s3://lake/{name}", "group": "asset"}}


def outlet(name: str) -> dict[str, Any]:
    return {"type": "asset", "extra": {}, **named(name)["asset"]}


def said(name: str, **extra: Any) -> dict[str, Any]:
    return {"name": name, "uri": f"s3://lake/{name}", "extra": extra}


def through(alias: str, name: str, **extra: Any) -> dict[str, Any]:
    return {**said(name, **extra), "alias": alias, "group": "asset", "asset_extra": {}}


def known(row: Dag) -> Dag:
    """Have the catalogue note the assets of a DAG, as when its file is parsed."""
    assert row.current_version is not None
    assets.store({row.dag_id: DagSpec.from_dict(row.current_version.spec)}, (), sql.now())
    return row


def producer(*names: str) -> Dag:
    return known(dag([task("make", outlets=[outlet(n) for n in names])], "producer"))


def consumer(condition: dict[str, Any], dag_id: str = "consumer", **fields: Any) -> Dag:
    timetable = {"kind": "asset", "condition": condition}
    return known(dag(chain("use"), dag_id, timetable=timetable, asset_expression=condition, **fields))


def produce(worker: Worker, *entries: dict[str, Any], outcome: str = "success") -> Run:
    made = run("producer")
    worker.do(made, "make", outcome, asset_events=list(entries))
    return made


def runs_of(dag_id: str = "consumer") -> list[Run]:
    return list(Run.objects.filter(dag_id=dag_id).order_by("id"))


def used(of: Run) -> list[tuple[str, dict[str, Any]]]:
    return [(e.asset.name, e.extra) for e in of.consumed_asset_events.order_by("timestamp", "id").select_related("asset")]


def queue() -> list[tuple[str, str]]:
    return sorted(QueuedAsset.objects.values_list("dag_id", "asset__name"))


def test_an_event_starts_the_consumer_and_its_task_is_told_why() -> None:
    producer("a")
    consumer({"all": [named("a")]})
    worker = Worker()
    source = produce(worker, said("a", rows=3))
    tick()
    (made,) = runs_of()
    assert (made.run_type, made.triggered_by, made.logical_date, made.data_interval_start) == ("asset_triggered", "asset", None, None)
    assert made.run_id.startswith(f"asset_triggered__{made.run_after.isoformat()}_")
    assert used(made) == [("a", {"rows": 3})]
    assert queue() == []
    (event,) = worker.take()["use"]["run"]["consumed_asset_events"]
    assert (event["asset"]["name"], event["extra"], event["source_task_id"]) == ("a", {"rows": 3}, "make")
    assert (event["source_dag_id"], event["source_run_id"], event["source_map_index"]) == ("producer", source.run_id, -1)
    assert made.run_after == AssetEvent.objects.get().timestamp


def test_a_task_that_did_not_succeed_says_nothing() -> None:
    producer("a")
    consumer({"all": [named("a")]})
    for outcome in ("failed", "skipped"):
        produce(Worker(), said("a"), outcome=outcome)
    tick()
    assert not AssetEvent.objects.exists() and runs_of() == []


def test_a_repeated_report_makes_no_second_event() -> None:
    producer("a")
    worker = Worker()
    made = run("producer")
    order = worker.take()["make"]
    report = worker.report(order, asset_events=[said("a")])
    worker.exchange([report])
    worker.exchange([report])
    assert state(made) == "success" and AssetEvent.objects.count() == 1


def test_and_waits_for_both_and_or_takes_the_first() -> None:
    producer("a", "b")
    consumer({"all": [named("a"), named("b")]}, "both")
    consumer({"any": [named("a"), named("b")]}, "either")
    worker = Worker()
    produce(worker, said("a", n=1))
    produce(worker, said("a", n=2))
    tick()
    assert runs_of("both") == [] and len(runs_of("either")) == 2
    assert queue() == [("both", "a")]
    produce(worker, said("b"))
    tick()
    (both,) = runs_of("both")
    assert used(both) == [("a", {"n": 1}), ("a", {"n": 2}), ("b", {})]
    assert [used(r) for r in runs_of("either")] == [[("a", {"n": 1})], [("a", {"n": 2})], [("b", {})]]


def test_events_are_used_by_one_run_only() -> None:
    producer("a")
    consumer({"all": [named("a")]})
    for n in range(3):
        produce(Worker(), said("a", n=n))
        tick()
    assert [used(r) for r in runs_of()] == [[("a", {"n": n})] for n in range(3)]


def test_a_paused_consumer_is_not_queued_but_its_next_run_knows_what_it_missed() -> None:
    producer("a")
    row = consumer({"all": [named("a")]})
    Dag.objects.filter(pk=row.pk).update(is_paused=True)
    produce(Worker(), said("a", n=1))
    Dag.objects.filter(pk=row.pk).update(is_paused=False)
    tick()
    assert runs_of() == [] and queue() == []
    produce(Worker(), said("a", n=2))
    tick()
    assert [used(r) for r in runs_of()] == [[("a", {"n": 1}), ("a", {"n": 2})]]


def test_events_older_than_the_reference_are_left_out_unless_the_dag_catches_up() -> None:
    producer("a")
    produce(Worker(), said("a", n=1))
    consumer({"all": [named("a")]})
    consumer({"all": [named("a")]}, "all_of_it", catchup=True)
    produce(Worker(), said("a", n=2))
    tick()
    assert used(runs_of()[0]) == [("a", {"n": 2})]
    assert used(runs_of("all_of_it")[0]) == [("a", {"n": 1}), ("a", {"n": 2})]


def test_max_active_runs_keeps_the_queue_and_says_so() -> None:
    producer("a")
    consumer({"all": [named("a")]}, max_active_runs=1)
    worker = Worker()
    produce(worker, said("a", n=1))
    tick()
    produce(worker, said("a", n=2))
    produce(worker, said("a", n=3))
    tick()
    assert len(runs_of()) == 1 and queue() == [("consumer", "a")]
    assert "max_active_runs is 1" in (Dag.objects.get(pk="consumer").blocked_reason or "")
    worker.do(runs_of()[0], "use")
    tick()
    assert used(runs_of()[1]) == [("a", {"n": 2}), ("a", {"n": 3})] and queue() == []
    assert Dag.objects.get(pk="consumer").blocked_reason is None


def test_an_asset_named_through_an_alias_is_made_and_starts_who_waits_for_either() -> None:
    known(dag([task("make", outlets=[{"type": "alias", "name": "al", "group": "asset"}])], "producer"))
    consumer({"all": [{"alias": {"name": "al", "group": "asset"}}]}, "by_alias")
    worker = Worker()
    produce(worker, through("al", "fresh", k=1))
    tick()
    fresh = Asset.objects.get(name="fresh")
    assert (fresh.uri, fresh.is_active, [a.name for a in fresh.aliases.all()]) == ("s3://lake/fresh", False, ["al"])
    assert used(runs_of("by_alias")[0]) == [("fresh", {"k": 1})]
    assert [e["extra"] for e in reading.history(alias="al")] == [{"k": 1}]
    assert reading.history(alias="al")[0]["source_aliases"] == [{"name": "al"}]
    assets.settle(sql.now() + assets.ALIAS_DELAY * 2)
    fresh.refresh_from_db()
    assert fresh.is_active
    consumer({"all": [named("fresh")]}, "by_asset")
    produce(worker, through("al", "fresh", k=2))
    tick()
    assert [len(runs_of(d)) for d in ("by_alias", "by_asset")] == [2, 1]


@pytest.mark.parametrize("reference", [{"name": "a"}, {"uri": "s3://lake/a"}], ids=["name", "uri"])
def test_a_reference_to_an_asset_defined_elsewhere_waits_for_it(reference: dict[str, str]) -> None:
    consumer({"all": [{"asset_ref": reference}]})
    producer("a")
    produce(Worker(), said("a"))
    tick()
    assert [used(r) for r in runs_of()] == [[("a", {})]]


def test_an_event_with_a_partition_key_starts_no_ordinary_consumer() -> None:
    producer("a")
    consumer({"all": [named("a")]})
    produce(Worker(), {**said("a"), "partition_keys": ["2026-01-01", "2026-01-02"]})
    tick()
    assert runs_of() == [] and queue() == []
    assert list(AssetEvent.objects.order_by("id").values_list("partition_key", flat=True)) == ["2026-01-01", "2026-01-02"]


def test_a_dag_by_assets_or_time_gets_runs_both_ways() -> None:
    producer("a")
    condition = {"all": [named("a")]}
    clock = {"kind": "cron_trigger", "cron": "30 6 * * *", "timezone": "UTC"}
    row = consumer(condition)
    assert row.current_version is not None
    timetable = {"kind": "asset_or_time", "timetable": clock, "condition": condition}
    spec = DagSpec.from_dict(row.current_version.spec | {"timetable": timetable})
    row.timetable, row.next_logical_date = spec.timetable, datetime(2026, 1, 1, 6, 30, tzinfo=UTC)
    row.next_run_after = row.next_interval_start = row.next_interval_end = row.next_logical_date
    new_version(row, spec, 2)
    produce(Worker(), said("a"))
    tick()
    assert {r.run_type for r in runs_of()} == {"asset_triggered", "scheduled"}
    assert next(r for r in runs_of() if r.run_type == "scheduled").logical_date == datetime(2026, 1, 1, 6, 30, tzinfo=UTC)


def test_a_malformed_asset_event_fails_the_task_and_says_what_is_wrong() -> None:
    producer("a")
    for wrong in ({"name": ""}, {"name": 3}, {"name": "a", "extra": [1]}, "a", {"name": "a\x00"}):
        worker = Worker()
        made = run("producer")
        assert worker.do(made, "make", asset_events=[wrong])["status"] == 200
        assert state(made) == "failed"
    assert not AssetEvent.objects.exists()


def test_values_no_column_can_hold_are_cleaned() -> None:
    producer("a")
    produce(Worker(), said("a", text="x\x00y"))
    assert AssetEvent.objects.get().extra == {"text": "xy"}


def test_a_finish_without_outlets_costs_no_statement_more(monkeypatch: pytest.MonkeyPatch) -> None:
    producer("a")
    dag(chain("plain"), "plain")
    statements: list[Any] = []
    real = psycopg.Cursor.execute

    def counted(cursor: Any, statement: Any, *arguments: Any, **options: Any) -> Any:
        statements.append(statement)
        return real(cursor, statement, *arguments, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    costs = []
    nothing: list[dict[str, Any]] = []
    plain, mute, loud = ("plain", "plain", nothing), ("producer", "make", nothing), ("producer", "make", [said("a")])
    for dag_id, task_id, entries in (plain, mute, loud):
        several = []
        for _ in range(3):  # now and then one comes on top by the clock: a lease is renewed, a cache is filled
            worker = Worker()
            run(dag_id)
            report = worker.report(worker.take()[task_id], asset_events=entries)
            statements.clear()
            worker.exchange([report], free=0)
            several.append(len(statements))
        costs.append(min(several))
    assert costs[0] == costs[1] < costs[2]


def test_an_event_that_comes_while_a_run_is_made_is_kept_for_the_next_one() -> None:
    """The queue row is always touched: whoever makes the run waits for the writer, or the writer for the run."""
    producer("a")
    consumer({"all": [named("a")]})
    asset = Asset.objects.get(name="a")
    produce(Worker(), said("a", n=1))
    written, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():
            events.by_hand(asset, {"n": 2}, None, sql.now())
            written.set()
            go_on.wait(20)
        connection.close()

    other = threading.Thread(target=write)
    other.start()
    assert written.wait(20)
    def make() -> None:
        consumers.create_runs(sql.now())
        connection.close()

    maker = threading.Thread(target=make)
    maker.start()
    go_on.set()
    other.join(20)
    maker.join(20)
    tick()
    assert sorted(x["n"] for r in runs_of() for _, x in used(r)) == [1, 2]
    assert queue() == []


def test_a_consumer_whose_run_cannot_be_made_waits_says_why_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    producer("a")
    consumer({"all": [named("a")]}, "broken")
    consumer({"all": [named("a")]}, "healthy")
    real, attempts = consumers.creation.create_run, []

    def create_run(row: Dag, *arguments: Any, **named_: Any) -> Run:
        if row.dag_id == "broken":
            attempts.append(row)
            raise RuntimeError("no luck")
        return real(row, *arguments, **named_)

    monkeypatch.setattr(consumers.creation, "create_run", create_run)
    monkeypatch.setattr(consumers, "_turns", turns.Turns("run"))
    produce(Worker(), said("a"))
    tick(3)
    assert len(attempts) == 1 and queue() == [("broken", "a")] and len(runs_of("healthy")) == 1
    assert "no luck" in (Dag.objects.get(pk="broken").blocked_reason or "")
    monkeypatch.setattr(consumers.creation, "create_run", real)
    consumers.create_runs(sql.now() + turns.RETRY)
    assert len(runs_of("broken")) == 1 and Dag.objects.get(pk="broken").blocked_reason is None


def test_a_task_is_told_which_of_its_assets_lost_their_name() -> None:
    producer("a", "b")
    rival = {"type": "asset", "extra": {}, "name": "a", "uri": "s3://elsewhere", "group": "asset"}
    known(dag([task("write", outlets=[rival, outlet("b")])], "rival"))
    run("rival")
    worker = Worker()
    assert worker.take()["write"]["inactive_assets"] == ["a (s3://elsewhere)"]
    run("producer")
    assert worker.take()["make"]["inactive_assets"] == []


def test_queue_rows_of_a_dag_that_waits_no_more_go_away() -> None:
    producer("a", "b")
    row = consumer({"all": [named("a"), named("b")]})
    produce(Worker(), said("a"))
    assert queue() == [("consumer", "a")]
    assert row.current_version is not None
    spec = DagSpec.from_dict(row.current_version.spec | {"timetable": {"kind": "null"}, "asset_expression": None})
    row.timetable = spec.timetable
    known(new_version(row, spec, 2))
    assert not AssetUse.objects.filter(dag=row).exists()
    consumers.settle(sql.now())
    assert queue() == []


def test_history_is_cut_and_ordered_as_asked() -> None:
    producer("a")
    asset = Asset.objects.get(name="a")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for n in range(4):
        events.by_hand(asset, {"n": n}, None, start + timedelta(hours=n))

    def numbers(**arguments: Any) -> list[int]:
        return [e["extra"]["n"] for e in reading.history(name="a", **arguments)]

    assert numbers() == [0, 1, 2, 3]
    assert numbers(ascending=False) == [3, 2, 1, 0]
    assert numbers(limit=2) == [0, 1]
    assert numbers(limit=2, ascending=False) == [3, 2]
    assert numbers(after=start + timedelta(hours=1), before=start + timedelta(hours=2)) == [1, 2]
    assert reading.history(uri="s3://lake/a")[0]["asset"]["name"] == "a"
    assert reading.history(name="b") == []
