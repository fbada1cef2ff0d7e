"""Events come into being: from finish reports of tasks that succeeded, and by hand (REST).

`register` runs in the transaction that ends the tries; it writes the events and queues the consumers (rows 2.124, 2.129).
Queue rows are locked in the order (asset, DAG), here and in `consumers`, and are always touched, so that an event is
either seen by the run that is just being made or stays queued for the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.dags import assets
from apps.dags.models import Asset
from apps.runs import sql, wake
from apps.runs.assets import partitions
from apps.runs.assets.models import AssetEvent
from apps.runs.errands import callbacks
from trackside.runner.jsonio import exact_dumps, exact_loads

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Source:
    """The task instance that reports."""

    run_pk: int
    dag_id: str
    task_id: str
    map_index: int


@dataclass(slots=True)
class News:
    """One event to be."""

    name: str | None
    uri: str | None
    extra: dict[str, Any] = field(default_factory=dict)
    alias: str | None = None
    group: str = "asset"
    asset_extra: dict[str, Any] = field(default_factory=dict)
    partition_keys: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        return self.name or "", self.uri or ""


def read(entries: Any) -> list[News]:
    """The `asset_events` of a finish report; raises ValueError saying what cannot be used."""
    if not isinstance(entries, list):
        raise ValueError("asset_events must be a list")
    return [_read(entry) for entry in entries]


def _read(entry: Any) -> News:
    if not isinstance(entry, dict):
        raise ValueError("an asset event must be an object")
    news = News(
        _text(entry, "name"), _text(entry, "uri"), _object(entry, "extra"), _text(entry, "alias"), _text(entry, "group") or "asset",
        _object(entry, "asset_extra"), list(entry.get("partition_keys") or ()),
    )  # fmt: skip
    if not news.name and not news.uri:
        raise ValueError("an asset event must name its asset")
    if any(not isinstance(key, str) or not 0 < len(key) <= 250 or "\x00" in key for key in news.partition_keys):
        raise ValueError("partition keys must be texts of 1 to 250 characters")
    return news


def _text(entry: dict[str, Any], name: str) -> str | None:
    value = entry.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 1500 or "\x00" in value:
        raise ValueError(f"{name} of an asset event must be a text of at most 1500 characters without U+0000")
    return value


def _object(entry: dict[str, Any], name: str) -> dict[str, Any]:
    value = entry.get(name) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} of an asset event must be an object")
    cleaned: dict[str, Any] = exact_loads(exact_dumps(value).replace(b"\\u0000", b""))
    return cleaned


_RUNS = "SELECT id, run_id, partition_key, partition_date FROM runs_run WHERE id = ANY(%s::bigint[])"
_ASSETS = """
SELECT id, name, uri, is_active FROM dags_asset WHERE name = ANY(%(names)s::text[])
UNION SELECT id, name, uri, is_active FROM dags_asset WHERE uri = ANY(%(uris)s::text[])
ORDER BY is_active DESC, id
"""
_INSERT = """
INSERT INTO runs_assetevent (asset_id, timestamp, extra, source_dag_id, source_task_id, source_run_id, source_map_index, partition_key)
SELECT e.asset, %(now)s::timestamptz, e.extra, e.dag, e.task, e.run, e.map_index, e.partition
FROM unnest(%(assets)s::bigint[], %(extras)s::jsonb[], %(dags)s::text[], %(tasks)s::text[], %(runs)s::text[], %(indexes)s::int[],
    %(partitions)s::text[]) WITH ORDINALITY AS e(asset, extra, dag, task, run, map_index, partition, n) ORDER BY e.n
RETURNING id
"""
_QUEUE = """
INSERT INTO runs_queuedasset (asset_id, dag_id, created_at, updated_at)
SELECT DISTINCT c.asset_id, c.dag_id, %(now)s::timestamptz, %(now)s::timestamptz FROM (
    SELECT a.id AS asset_id, u.dag_id FROM dags_asset a JOIN dags_assetuse u ON u.asset_id = a.id AND u.kind = 'schedule'
    WHERE a.id = ANY(%(assets)s::bigint[]) AND a.is_active
    UNION SELECT a.id, u.dag_id FROM dags_asset a JOIN dags_assetuse u ON u.ref_name = a.name AND u.kind = 'schedule'
    WHERE a.id = ANY(%(assets)s::bigint[])
    UNION SELECT a.id, u.dag_id FROM dags_asset a JOIN dags_assetuse u ON u.ref_uri = a.uri AND u.kind = 'schedule'
    WHERE a.id = ANY(%(assets)s::bigint[])
    UNION SELECT e.asset_id, u.dag_id FROM unnest(%(via)s::bigint[], %(aliases)s::bigint[]) AS e(asset_id, alias_id)
    JOIN dags_assetuse u ON u.alias_id = e.alias_id AND u.kind = 'schedule'
) c JOIN dags_dag d ON d.dag_id = c.dag_id
WHERE NOT d.is_paused AND NOT d.is_stale AND d.timetable->>'kind' IN ('asset', 'asset_or_time')
ORDER BY 1, 2
ON CONFLICT (asset_id, dag_id) DO UPDATE SET updated_at = greatest(runs_queuedasset.updated_at, excluded.updated_at)
"""


def register(said: Iterable[tuple[Source, list[News]]], now: datetime) -> list[int]:
    """Write the events of tasks that succeeded and queue their consumers, in the caller's transaction; ids of the events."""
    pairs = [(source, news) for source, entries in said for news in entries]
    if not pairs:
        return []
    runs = {r[0]: r[1:] for r in sql.rows(_RUNS, [sorted({source.run_pk for source, _ in pairs})])}
    aliases = _define([news for _, news in pairs if news.alias], now)
    ids = _resolve([news for _, news in pairs])
    rows: list[tuple[Any, ...]] = []
    through: list[str | None] = []
    dates: list[datetime | None] = []
    for source, news in pairs:
        asset_id = ids.get(news.key)
        if asset_id is None:
            what = news.name or news.uri
            logger.warning("%s.%s reports news of an asset that no DAG file defines: %s", source.dag_id, source.task_id, what)
            continue
        run_id, run_key, run_date = runs[source.run_pk]
        for partition in dict.fromkeys(news.partition_keys) or [run_key]:
            extra = exact_dumps(news.extra).decode()
            rows.append((asset_id, extra, source.dag_id, source.task_id, run_id, source.map_index, partition))
            through.append(news.alias)
            dates.append(run_date if partition == run_key else None)  # the date is that key's
    return _write(rows, [aliases[a] if a else None for a in through], now, dates)


def _define(news: Sequence[News], now: datetime) -> dict[str, int]:
    """Make the assets and aliases that tasks named at run time, and note which went through which; aliases by name."""
    if not news:
        return {}
    found = [assets.Definition(n.name or n.uri or "", n.uri or n.name or "", n.group, n.asset_extra) for n in news]
    ids = assets.define(found, now, update=False)
    aliases = assets.define_aliases({n.alias: "asset" for n in news if n.alias})
    links = {(ids[d.key], aliases[n.alias]) for d, n in zip(found, news, strict=True) if n.alias}
    model = Asset.aliases.through
    model.objects.bulk_create([model(asset_id=asset, assetalias_id=alias) for asset, alias in sorted(links)], ignore_conflicts=True)
    return aliases


def _resolve(news: Sequence[News]) -> dict[tuple[str, str], int]:
    """Ids of the assets by what was said about them; one that is named by half prefers the active asset."""
    names, uris = {n.name for n in news if n.name}, {n.uri for n in news if n.uri}
    found = sql.rows(_ASSETS, {"names": sorted(names), "uris": sorted(uris)})
    ids: dict[tuple[str, str], int] = {}
    for pk, name, uri, _ in found:
        for key in ((name, uri), (name, ""), ("", uri)):
            ids.setdefault(key, pk)
    return ids


def _write(
    rows: Sequence[tuple[Any, ...]], aliases: Sequence[int | None], now: datetime, dates: Sequence[datetime | None] = ()
) -> list[int]:
    if not rows:
        return []
    names = ("assets", "extras", "dags", "tasks", "runs", "indexes", "partitions")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    ids = [r[0] for r in sql.rows(_INSERT, {**columns, "now": now})]
    links = [(event, alias) for event, alias in zip(ids, aliases, strict=True) if alias is not None]
    if links:
        model = AssetEvent.source_aliases.through
        model.objects.bulk_create([model(assetevent_id=e, assetalias_id=a) for e, a in links])
    plain = [n for n, row in enumerate(rows) if row[6] is None]  # those with a partition key are for partitioned consumers
    via = [n for n in plain if aliases[n] is not None]
    queued = sql.run(_QUEUE, {
        "now": now, "assets": sorted({rows[n][0] for n in plain}), "via": [rows[n][0] for n in via], "aliases": [aliases[n] for n in via],
    }) if plain else 0  # fmt: skip
    queued += partitions.queue([
        partitions.Keyed(event, row[0], row[6], date, (row[2], row[3], row[4]))
        for event, row, date in zip(ids, rows, dates or [None] * len(ids), strict=True)
    ], now)  # fmt: skip
    callbacks.asset_news(list(zip(ids, rows, strict=True)), now)
    wake.send_on_commit(*((wake.SCHEDULER, wake.LIVE) if queued else (wake.LIVE,)))
    return ids


def by_hand(asset: Asset, extra: dict[str, Any], partition_key: str | None, now: datetime) -> int:
    """An event that no task made (REST, pages), in the caller's transaction; its id."""
    return _write([(asset.pk, exact_dumps(extra).decode(), None, None, None, -1, partition_key)], [None], now)[0]


def from_outside(news: Sequence[tuple[int, dict[str, Any]]], now: datetime) -> list[int]:
    """Events (asset, extra) that watchers saw, in the caller's transaction; their ids."""
    rows = [(asset, exact_dumps(_object({"extra": extra}, "extra")).decode(), None, None, None, -1, None) for asset, extra in news]
    return _write(rows, [None] * len(rows), now)
