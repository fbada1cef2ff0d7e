"""Consumers: runs of DAGs whose condition over assets is met (rows 2.125 to 2.128). A step of the scheduler's tick.

The queue is read in one statement and judged in memory; only a DAG whose condition is met is locked and looked at again.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from apps.dags import assets
from apps.dags.models import Dag
from apps.runs import claims, compiled, sql
from apps.runs.actions import creation
from apps.runs.assets import partitions
from apps.runs.assets.turns import Turns
from trackside.core.asset_conditions import News, met
from trackside.core.states import RunType, TriggeredBy
from trackside.core.timetables import generate_run_id

MARGIN = timedelta(hours=1)
"""How far before the last run of a consumer unused events are looked for: longer than any transaction that writes them."""
SETTLE_EVERY = timedelta(seconds=10)
_turns = Turns("asset-triggered run")

_NEWS = """
SELECT q.dag_id, v.id, v.spec_hash, a.name, a.uri,
       (SELECT array_agg(l.name) FROM dags_asset_aliases x JOIN dags_assetalias l ON l.id = x.assetalias_id WHERE x.asset_id = a.id)
FROM runs_queuedasset q JOIN dags_dag d ON d.dag_id = q.dag_id JOIN dags_asset a ON a.id = q.asset_id
JOIN dags_dagversion v ON v.id = d.current_version_id
WHERE NOT d.is_paused AND NOT d.is_stale AND NOT d.has_import_errors {narrower} ORDER BY q.id LIMIT 20000
"""
_ALL = _NEWS.format(narrower="")
_OF_DAG = _NEWS.format(narrower="AND q.dag_id = %(dag)s")


def create_runs(now: datetime) -> tuple[int, bool]:
    """Create the runs that are due; how many, and whether a DAG was skipped because somebody else works on it."""
    by_partition, passed = partitions.create_runs(now)
    created, skipped = _create_by_condition(now)
    return by_partition + created, passed or skipped


def _create_by_condition(now: datetime) -> tuple[int, bool]:
    rows = [r for r in sql.rows(_ALL) if not _turns.rests(r[0], now)]
    if not rows:
        return 0, False
    due, unreadable = _due(rows)
    for dag_id in unreadable:
        _turns.put_off(dag_id, now)
    return _turns.take(due, _create_for, now)


def _due(rows: list[tuple[Any, ...]]) -> tuple[list[str], list[str]]:
    """DAGs whose condition the queued assets satisfy, and DAGs whose version cannot be read."""
    news: dict[str, list[News]] = defaultdict(list)
    versions: dict[str, tuple[UUID, str]] = {}
    for dag_id, version, spec_hash, name, uri, aliases in rows:
        news[dag_id].append(News(name, uri, frozenset(aliases or ())))
        versions[dag_id] = version, spec_hash
    dags = compiled.get_many(set(versions.values()))
    readable = {d: dags[version] for d, (version, _) in versions.items() if version in dags}
    return [d for d, dag in readable.items() if met(dag.spec.asset_expression, news[d])], [d for d in versions if d not in readable]


def _create_for(dag_id: str, now: datetime) -> int:
    """Make the run; the DAG is locked."""
    queue = claims.lock_queued_assets(dag_id)
    if not queue or not _due(sql.rows(_OF_DAG, {"dag": dag_id}))[0]:
        return 0
    dag = Dag.objects.select_related("current_version").get(dag_id=dag_id)
    checked = creation.checked_of(dag)
    if checked is None or _is_full(dag):
        return 0
    run_after = max(updated_at for _, updated_at in queue)
    run = creation.create_run(
        dag, checked, run_id=generate_run_id(RunType.ASSET_TRIGGERED, run_after, None, creation.random_suffix()),
        run_type=RunType.ASSET_TRIGGERED, logical_date=None, interval=None, run_after=run_after, now=now, triggered_by=TriggeredBy.ASSET,
    )  # fmt: skip
    _consume(dag, run.pk, run_after)
    sql.run("DELETE FROM runs_queuedasset WHERE id = ANY(%s::bigint[])", [[pk for pk, _ in queue]])
    return 1


def _is_full(dag: Dag) -> bool:
    """max_active_runs is reached: the queue stays, and the DAG says why nothing happens."""
    active = sql.rows(
        "SELECT count(*) FROM runs_run WHERE dag_id = %s AND state IN ('queued', 'running') AND backfill_id IS NULL", [dag.dag_id]
    )[0][0]
    full = bool(active >= dag.max_active_runs)
    why = f"{active} runs are active and max_active_runs is {dag.max_active_runs}. The next run is created when one ends." if full else None
    if dag.blocked_reason != why:
        sql.run("UPDATE dags_dag SET blocked_reason = %s WHERE dag_id = %s", [why, dag.dag_id])
    return full


# All events of what the DAG waits for that none of its runs used, since its last such run; before the first one without
# catchup only those that are younger than the reference (Airflow's rules).
_CONSUME = """
WITH waits AS (
    SELECT asset_id, alias_id, ref_name, ref_uri,
        CASE WHEN %(catchup)s::bool THEN %(since)s::timestamptz ELSE greatest(created_at, %(since)s::timestamptz) END AS since
    FROM dags_assetuse WHERE dag_id = %(dag)s::text AND kind = 'schedule'
), found AS (
    SELECT e.id FROM waits w JOIN runs_assetevent e ON e.asset_id = w.asset_id AND e.timestamp >= w.since AND e.partition_key IS NULL
    UNION SELECT e.id FROM waits w JOIN runs_assetevent_source_aliases x ON x.assetalias_id = w.alias_id
        JOIN runs_assetevent e ON e.id = x.assetevent_id AND e.timestamp >= w.since AND e.partition_key IS NULL
    UNION SELECT e.id FROM waits w JOIN dags_asset a ON a.name = w.ref_name
        JOIN runs_assetevent e ON e.asset_id = a.id AND e.timestamp >= w.since AND e.partition_key IS NULL
    UNION SELECT e.id FROM waits w JOIN dags_asset a ON a.uri = w.ref_uri
        JOIN runs_assetevent e ON e.asset_id = a.id AND e.timestamp >= w.since AND e.partition_key IS NULL
)
INSERT INTO runs_assetevent_runs (assetevent_id, run_id)
SELECT f.id, %(run)s::bigint FROM found f
WHERE NOT EXISTS (
    SELECT 1 FROM runs_assetevent_runs o JOIN runs_run r ON r.id = o.run_id WHERE o.assetevent_id = f.id AND r.dag_id = %(dag)s::text
)
"""


def _consume(dag: Dag, run_pk: int, run_after: datetime) -> None:
    """Note the events that the run is about."""
    last = sql.rows(
        "SELECT max(run_after) FROM runs_run WHERE dag_id = %s AND run_type = 'asset_triggered' AND id <> %s", [dag.dag_id, run_pk]
    )[0][0]
    since = last - MARGIN if last is not None else datetime.fromisoformat("0001-01-02T00:00:00+00:00")
    sql.run(_CONSUME, {"dag": dag.dag_id, "run": run_pk, "since": since, "catchup": dag.catchup})


def settle(now: datetime) -> None:
    """The slow duty: assets without references, queue rows of DAGs that wait for assets no more."""
    assets.settle(now)
    partitions.settle(now)
    sql.run(
        "DELETE FROM runs_queuedasset q WHERE NOT EXISTS (SELECT 1 FROM dags_assetuse u WHERE u.dag_id = q.dag_id AND u.kind = 'schedule')"
    )
