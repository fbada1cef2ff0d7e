"""Watchers: triggers whose every event is an event of their assets (row 1.218). One row per trigger, whatever the number of
assets, DAGs and runs; a triggerer waits for it under its lease.

`sync` (a slow duty of the scheduler) makes the rows what the assets say; `claim`, `jobs` and `happened` are the triggerer's
(`apps.runs.triggerer.watching`). A watcher is wanted while an asset that names it is active and an unpaused DAG waits for that asset.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction

from apps.access.crypto import WrongKey, decrypt
from apps.runs import claims, sql, wake
from apps.runs.assets import events
from apps.runs.assets.models import WatchedAsset, Watcher

logger = logging.getLogger(__name__)

_WANTED = """
SELECT a.id, a.watchers::text FROM dags_asset a WHERE a.is_active AND a.watchers <> '[]'::jsonb AND EXISTS (
    SELECT 1 FROM dags_assetuse u JOIN dags_dag d ON d.dag_id = u.dag_id AND NOT d.is_paused AND NOT d.is_stale
    WHERE u.kind = 'schedule' AND (u.asset_id = a.id OR u.ref_name = a.name OR u.ref_uri = a.uri)
) ORDER BY a.id
"""


def _key(classpath: str, kwargs: Any) -> str:
    return hashlib.sha256(orjson.dumps([classpath, kwargs], option=orjson.OPT_SORT_KEYS)).hexdigest()


def sync() -> None:
    """Make the rows of watchers what the assets say. Two statements when nothing changed."""
    wanted: dict[tuple[str, int], tuple[str, str, Any]] = {}
    for asset, watchers in sql.rows(_WANTED):
        for w in orjson.loads(watchers):
            classpath, kwargs = str(w.get("classpath"))[:1000], w.get("kwargs") or {}
            wanted[_key(classpath, kwargs), asset] = (str(w.get("name"))[:1500], classpath, kwargs)
    there = {(r[0], r[1]): r[2] for r in sql.rows(
        "SELECT w.key, l.asset_id, l.id FROM runs_watchedasset l JOIN runs_watcher w ON w.id = l.watcher_id"
    )}  # fmt: skip
    if wanted.keys() == there.keys():
        return
    with transaction.atomic():
        if not claims.try_watchers():
            return  # somebody else does it
        WatchedAsset.objects.filter(pk__in=[pk for place, pk in there.items() if place not in wanted]).delete()
        new = {place: w for place, w in wanted.items() if place not in there}
        Watcher.objects.bulk_create(
            [Watcher(key=key, classpath=classpath, kwargs=orjson.dumps(kwargs).decode())
             for key, (classpath, kwargs) in {key: (c, k) for (key, _), (_, c, k) in new.items()}.items()],
            ignore_conflicts=True,
        )  # fmt: skip
        pks = dict(Watcher.objects.filter(key__in={key for key, _ in new}).values_list("key", "pk"))
        rows = [WatchedAsset(watcher_id=pks[key], asset_id=asset, name=name) for (key, asset), (name, _, _) in new.items()]
        WatchedAsset.objects.bulk_create(rows, ignore_conflicts=True)
        Watcher.objects.filter(watched=None).delete()
        wake.send_on_commit(wake.TRIGGER)


def held(triggerer: UUID) -> set[int]:
    """Watchers that this triggerer holds."""
    return {r[0] for r in sql.rows("SELECT id FROM runs_watcher WHERE triggerer_id = %s", [triggerer])}


def claim(triggerer: UUID, room: int, now: datetime) -> set[int]:
    """Take up to `room` watchers that no living triggerer holds and that need no pause."""
    return set(claims.take_watchers(triggerer, room, now)) if room > 0 else set()


_JOBS = """
SELECT w.id, w.classpath, w.kwargs, array_agg(ARRAY[a.name, a.uri] ORDER BY a.id)
FROM runs_watcher w JOIN runs_watchedasset l ON l.watcher_id = w.id JOIN dags_asset a ON a.id = l.asset_id
WHERE w.id = ANY(%s::bigint[]) GROUP BY w.id ORDER BY w.id
"""


def jobs(ids: Collection[int]) -> list[dict[str, Any]]:
    """Messages that start these watchers in the triggerer's child; with "wrong" one cannot be started, and why."""
    out = []
    for pk, classpath, kwargs, assets in sql.rows(_JOBS, [list(ids)]):
        message: dict[str, Any] = {"do": "start", "id": pk, "classpath": classpath, "watch": assets, "ti": {}, "dag_file": _file_of(pk)}
        try:
            message["kwargs"] = orjson.loads(decrypt(kwargs))
        except WrongKey as e:
            message["wrong"] = str(e)
        out.append(message)
    return out


def _file_of(pk: int) -> str | None:
    """A DAG file that names the asset: a trigger class may be defined in it."""
    rows = sql.rows(
        "SELECT d.fileloc FROM runs_watchedasset l JOIN dags_assetuse u ON u.asset_id = l.asset_id JOIN dags_dag d ON d.dag_id = u.dag_id "
        "WHERE l.watcher_id = %s AND NOT d.is_stale ORDER BY d.dag_id LIMIT 1",
        [pk],
    )
    return rows[0][0] if rows else None


_MINE = "SELECT id FROM runs_watcher WHERE id = ANY(%s::bigint[]) AND triggerer_id = %s ORDER BY id FOR NO KEY UPDATE"
_ASSETS = """
SELECT l.watcher_id, l.asset_id FROM runs_watchedasset l JOIN dags_asset a ON a.id = l.asset_id AND a.is_active
WHERE l.watcher_id = ANY(%s::bigint[]) ORDER BY l.asset_id
"""


def happened(triggerer: UUID, found: Sequence[tuple[int, Any]]) -> int:
    """Write the events of watchers (watcher, payload); how many. A watcher that another triggerer took over is not heard."""
    with transaction.atomic():
        mine = {r[0] for r in sql.rows(_MINE, [sorted({pk for pk, _ in found}), triggerer])}
        assets: dict[int, list[int]] = {}
        for pk, asset in sql.rows(_ASSETS, [sorted(mine)]):
            assets.setdefault(pk, []).append(asset)
        news = [(asset, {"from_trigger": True, "payload": payload}) for pk, payload in found for asset in assets.get(pk, ())]
        sql.run("UPDATE runs_watcher SET error = NULL WHERE id = ANY(%s::bigint[]) AND error IS NOT NULL", [sorted(mine)])
        return len(events.from_outside(news, sql.now()))


def failed(triggerer: UUID, pk: int, error: str, now: datetime) -> None:
    """A watcher failed: say it, and let it rest."""
    sql.run(
        "UPDATE runs_watcher SET error = %s, failed_at = %s, triggerer_id = NULL WHERE id = %s AND triggerer_id = %s",
        [error.replace("\x00", "")[:4000], now, pk, triggerer],
    )
