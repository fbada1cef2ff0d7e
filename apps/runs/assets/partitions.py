"""Partitioned consumers: events with a key become pending partitions, and those that have all they wait for become runs
(rows 2.131, 2.132).

`queue` runs in the transaction that writes the events; `create_runs` is a step of the scheduler's tick. Rows of one consumer
are locked in the order of their keys, after the run or the DAG. What a consumer's mappers make of a key is pure
(`trackside.core.partitions`), but for mappers of the user's, which a child answers for later (`own_mappers`); what a rollup of
theirs waits for is kept with the pending row. A key that cannot be mapped is noted in the audit trail and starts nothing.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
from django.conf import settings

from apps.access import audit
from apps.dags.models import Dag
from apps.runs import sql
from apps.runs.actions import creation
from apps.runs.assets import own_mappers
from apps.runs.assets.turns import Turns
from apps.runs.models import Event
from trackside.core.asset_conditions import News as AssetNews
from trackside.core.asset_conditions import met
from trackside.core.partitions import Mapping
from trackside.core.partitions.stored import MappedElsewhere
from trackside.core.partitions.timetable import TooManyKeys, Unreachable
from trackside.core.states import RunType, TriggeredBy
from trackside.core.timetables import generate_run_id

logger = logging.getLogger(__name__)

PER_TICK = 500
"""Pending partitions judged at once."""
_turns = Turns("runs of partitions")


@dataclass(frozen=True, slots=True)
class Keyed:
    """An event that has just been written."""

    event: int
    asset: int
    key: str | None
    date: datetime | None
    """Of the run that wrote it, if the key is that run's."""
    source: tuple[str | None, str | None, str | None]
    """DAG, task and run that wrote it."""


@lru_cache(maxsize=512)
def _mapping(timetable: bytes) -> Mapping:
    return Mapping(orjson.loads(timetable))


_CONSUMERS = """
SELECT c.asset_id, a.name, a.uri, d.dag_id, d.timetable::text FROM (
    SELECT a.id AS asset_id, u.dag_id FROM dags_asset a JOIN dags_assetuse u ON u.asset_id = a.id AND u.kind = 'schedule'
    WHERE a.id = ANY(%(assets)s::bigint[]) AND a.is_active
    UNION SELECT a.id, u.dag_id FROM dags_asset a JOIN dags_assetuse u ON u.ref_name = a.name AND u.kind = 'schedule'
    WHERE a.id = ANY(%(assets)s::bigint[])
    UNION SELECT a.id, u.dag_id FROM dags_asset a JOIN dags_assetuse u ON u.ref_uri = a.uri AND u.kind = 'schedule'
    WHERE a.id = ANY(%(assets)s::bigint[])
) c JOIN dags_dag d ON d.dag_id = c.dag_id JOIN dags_asset a ON a.id = c.asset_id
WHERE NOT d.is_paused AND NOT d.is_stale AND d.timetable->>'kind' = 'partitioned_asset'
ORDER BY d.dag_id, c.asset_id
"""
# A date that two upstream runs disagree about is nobody's; one that comes later is taken.
_PEND = """
INSERT INTO runs_pendingpartition AS p (dag_id, partition_key, partition_date, fingerprint, awaits, has_news, created_at, updated_at)
SELECT e.dag, e.key, e.date, e.print, e.awaits::jsonb, true, %(now)s::timestamptz, %(now)s::timestamptz
FROM unnest(%(dags)s::text[], %(keys)s::text[], %(dates)s::timestamptz[], %(prints)s::text[], %(awaits)s::text[])
    AS e(dag, key, date, print, awaits)
ORDER BY e.dag, e.key
ON CONFLICT (dag_id, partition_key) WHERE run_id IS NULL DO UPDATE SET has_news = true, updated_at = excluded.updated_at,
    awaits = p.awaits || excluded.awaits,
    partition_date = CASE WHEN p.partition_date IS NULL THEN excluded.partition_date
        WHEN excluded.partition_date IS NULL OR excluded.partition_date = p.partition_date THEN p.partition_date END
RETURNING id, dag_id, partition_key
"""
_OUTDATED = """
SELECT p.id FROM unnest(%(dags)s::text[], %(keys)s::text[], %(prints)s::text[]) AS e(dag, key, print)
JOIN runs_pendingpartition p ON p.dag_id = e.dag AND p.partition_key = e.key AND p.run_id IS NULL AND p.fingerprint <> e.print
ORDER BY p.dag_id, p.partition_key FOR UPDATE OF p
"""
_EVENT = "SELECT asset_id, partition_key, source_dag_id, source_task_id, source_run_id FROM runs_assetevent WHERE id = %s"
_NOTE = """
INSERT INTO runs_partitionnews (pending_id, event_id, asset_id, source_key)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[])
"""


def queue(events: Sequence[Keyed], now: datetime) -> int:
    """Have partitioned consumers of these events wait for what their mappers say; how many partitions have news."""
    consumers: dict[int, list[tuple[str, str, str, Mapping]]] = defaultdict(list)
    for asset, name, uri, dag_id, timetable in sql.rows(_CONSUMERS, {"assets": sorted({e.asset for e in events})}):
        consumers[asset].append((name, uri, dag_id, _mapping(timetable.encode())))
    wanted: dict[tuple[str, str], tuple[datetime | None, str, list[Keyed]]] = {}
    for event in events:
        for name, uri, dag_id, mapping in consumers[event.asset]:
            if event.key is None:
                complain("missing partition key", event, dag_id, "the run that wrote it has no partition key, and its task named none")
                continue
            for key in _keys(event, name, uri, dag_id, mapping):
                carried = mapping.carried(name, uri, event.date)
                date, _, entries = wanted.setdefault((dag_id, key), (carried, mapping.fingerprint, []))
                entries.append(event)
                if carried != date:  # two events of this very transaction
                    wanted[dag_id, key] = (None if date and carried else date or carried, mapping.fingerprint, entries)
    return pend(wanted, now)


def pend(
    wanted: dict[tuple[str, str], tuple[datetime | None, str, list[Keyed]]], now: datetime,
    awaits: dict[tuple[str, str], dict[str, Any]] | None = None,
) -> int:  # fmt: skip
    """Have consumers wait: (DAG, key) → (date, fingerprint of the mappers, events); how many partitions have news.

    `awaits`: (DAG, key) → what rollups by mappers of the user's wait for (`PendingPartition.awaits`).
    """
    if not wanted:
        return 0
    places = sorted(wanted)
    columns = {
        "now": now, "dags": [dag_id for dag_id, _ in places], "keys": [key for _, key in places],
        "dates": [wanted[place][0] for place in places], "prints": [wanted[place][1] for place in places],
        "awaits": [orjson.dumps((awaits or {}).get(place, {})).decode() for place in places],
    }  # fmt: skip
    _delete([r[0] for r in sql.rows(_OUTDATED, columns)])  # written for mappers the consumer does not have any more
    pending = sql.rows(_PEND, columns)
    notes = [(pk, e.event, e.asset, e.key) for pk, dag_id, key in pending for e in wanted[dag_id, key][2]]
    sql.run(_NOTE, [list(column) for column in zip(*notes, strict=True)])
    return len(pending)


def _keys(event: Keyed, name: str, uri: str, dag_id: str, mapping: Mapping) -> list[str]:
    assert event.key is not None
    try:
        return mapping.keys(name, uri, event.key, settings.MAX_PARTITION_KEYS)
    except TooManyKeys as e:
        complain("partition fan-out exceeded", event, dag_id, f"asset {name}: {e}; nothing was queued for this event")
    except Unreachable as e:
        complain("partition can never be complete", event, dag_id, f"asset {name}: {e}; give its RollupMapper another policy or window")
    except MappedElsewhere:
        own_mappers.ask(
            event.event, event.asset, event.key, event.date, name=name, uri=uri, dag_id=dag_id, fingerprint=mapping.fingerprint
        )
    except Exception as e:
        # whatever a mapper does to a key it does not know: the event counts for the others
        why = f"the mapper of asset {name} does not take the key {event.key!r}: {type(e).__name__}: {e}"
        complain("failed to map partition_key", event, dag_id, why)
    return []


def keyed(event: int) -> Keyed | None:
    """An event that was written before; None if it is gone."""
    found = sql.rows(_EVENT, [event])
    return Keyed(event, found[0][0], found[0][1], None, (found[0][2], found[0][3], found[0][4])) if found else None


def complain(what: str, event: Keyed, consumer: str, why: str) -> None:
    """Note in the audit trail and the log why an event starts nothing."""
    dag_id, task_id, run_id = event.source
    text = f"{consumer} does not start from event {event.event}: {why}."
    logger.warning("%s: %s", what, text)
    actor = audit.Actor("scheduler", "scheduler")
    audit.record(what, actor, dag_id=dag_id or consumer, task_id=task_id, run_id=run_id, extra={"message": text})


# --- runs -----------------------------------------------------------------------------------------------------------------
_JUDGE = """
SELECT p.id, p.dag_id, p.partition_key, p.partition_date, p.fingerprint, d.timetable::text, p.awaits::text
FROM runs_pendingpartition p JOIN dags_dag d ON d.dag_id = p.dag_id
WHERE p.run_id IS NULL AND p.has_news AND NOT d.is_paused AND NOT d.is_stale AND NOT d.has_import_errors {narrower}
ORDER BY p.id LIMIT %(limit)s
"""
_ALL = _JUDGE.format(narrower="")
_OF_DAG = _JUDGE.format(narrower="AND p.dag_id = %(dag)s") + " FOR NO KEY UPDATE OF p"
_CAME = """
SELECT n.pending_id, a.id, a.name, a.uri, n.source_key FROM runs_partitionnews n JOIN dags_asset a ON a.id = n.asset_id AND a.is_active
WHERE n.pending_id = ANY(%s::bigint[])
"""

_USE = """
INSERT INTO runs_assetevent_runs (assetevent_id, run_id)
SELECT DISTINCT n.event_id, m.run FROM unnest(%s::bigint[], %s::bigint[]) AS m (pending, run)
JOIN runs_partitionnews n ON n.pending_id = m.pending
"""

_MADE = """
UPDATE runs_pendingpartition p SET run_id = m.run, updated_at = %s
FROM unnest(%s::bigint[], %s::bigint[]) AS m (pending, run) WHERE p.id = m.pending
"""


def create_runs(now: datetime) -> tuple[int, bool]:
    """Create the runs of partitions that have all they wait for; how many, and whether a DAG was in other hands."""
    due = sorted({dag_id for _, dag_id, *_ in sql.rows(_ALL, {"limit": PER_TICK})})
    return _turns.take([d for d in due if not _turns.rests(d, now)], _create_for, now)


def _create_for(dag_id: str, now: datetime) -> int:
    """Judge what is pending for a DAG that is locked."""
    rows = sql.rows(_OF_DAG, {"dag": dag_id, "limit": PER_TICK})
    if not rows:
        return 0
    mapping, timetable = _mapping(rows[0][5].encode()), orjson.loads(rows[0][5])
    void = [r[0] for r in rows if r[4] != mapping.fingerprint or timetable.get("kind") != "partitioned_asset"]
    if void:
        logger.info("%d pending partitions of %s are void: its mappers changed", len(void), dag_id)
        _delete(void)
    rows = [r for r in rows if r[0] not in set(void)]
    came: dict[int, dict[tuple[int, str, str], set[str]]] = defaultdict(lambda: defaultdict(set))
    for pk, *asset, source_key in sql.rows(_CAME, [[r[0] for r in rows]]):
        came[pk][asset[0], asset[1], asset[2]].add(source_key)
    full = [r for r in rows if _has_all(mapping, timetable.get("condition"), r[2], came[r[0]], orjson.loads(r[6]))]
    sql.run("UPDATE runs_pendingpartition SET has_news = false WHERE id = ANY(%s::bigint[])", [[r[0] for r in rows]])
    if not full:
        return 0
    dag = Dag.objects.select_related("current_version").get(dag_id=dag_id)
    checked = creation.checked_of(dag)
    if checked is None:
        raise LookupError("it has no version that can be read; save its file again")
    made: list[int] = []
    told: list[Event] = []
    for pk, _, key, carried, *_ in full:
        run = creation.create_run(
            dag, checked, run_id=generate_run_id(RunType.ASSET_TRIGGERED, now, None, creation.random_suffix()),
            run_type=RunType.ASSET_TRIGGERED, logical_date=None, interval=None, run_after=now, now=now, triggered_by=TriggeredBy.ASSET,
            partition_key=key, partition_date=_date(mapping, key, [asset[1:] for asset in came[pk]], carried), told=told,
        )  # fmt: skip
        made.append(run.pk)
    pending = [r[0] for r in full]
    Event.objects.bulk_create(told)
    sql.run(_MADE, [now, pending, made])
    sql.run(_USE, [pending, made])
    return len(made)


def _has_all(mapping: Mapping, condition: Any, key: str, came: dict[tuple[int, str, str], set[str]], awaits: dict[str, Any]) -> bool:
    complete = []
    try:
        for (asset, name, uri), keys in came.items():
            said = awaits.get(str(asset))
            if len(keys & set(said["keys"])) >= said["least"] if said else mapping.has_all(name, uri, key, keys):
                complete.append(AssetNews(name, uri))
    except Exception:
        logger.exception("the mappers of a consumer cannot judge the key %s", key)
        return False
    return met(condition, complete)


def _date(mapping: Mapping, key: str, came: Iterable[tuple[str, str]], carried: datetime | None) -> datetime | None:
    """The moment the key stands for; carried from upstream if no mapper reads one from it; None if they disagree."""
    assets = list(came)
    try:
        return mapping.date(key, assets) if mapping.is_temporal(key, assets) else carried
    except Exception:
        logger.exception("the partition date of %s cannot be read", key)
        return None


_AGAIN = """
UPDATE runs_pendingpartition p SET has_news = true FROM dags_dag d
WHERE d.dag_id = p.dag_id AND p.run_id IS NULL AND NOT p.has_news AND NOT d.is_paused AND NOT d.is_stale
  AND p.id IN (SELECT id FROM runs_pendingpartition WHERE run_id IS NULL ORDER BY id LIMIT 5000)
"""
_HOPELESS = """
SELECT p.id FROM runs_pendingpartition p JOIN dags_dag d ON d.dag_id = p.dag_id
WHERE p.run_id IS NULL AND d.timetable->>'kind' <> 'partitioned_asset' LIMIT 5000
"""


def settle(now: datetime) -> None:
    """The slow duty: judge again what waits (an asset may be active again), forget what nothing can complete."""
    sql.run(_AGAIN)
    _delete([r[0] for r in sql.rows(_HOPELESS)])


def _delete(pending: list[int]) -> None:
    if pending:
        sql.run("DELETE FROM runs_partitionnews WHERE pending_id = ANY(%s::bigint[])", [pending])
        sql.run("DELETE FROM runs_pendingpartition WHERE id = ANY(%s::bigint[]) AND run_id IS NULL", [pending])
