"""Events as tasks see them: what triggered their run, and the history of their inlets (rows 1.213, 1.214)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from apps.runs import sql
from trackside.core.spec import TaskSpec
from trackside.runner.jsonio import exact_loads

MOST = 10_000
"""Events handed out at once; of a longer history the newest."""

_EVENT = """
SELECT {first}, e.id, e.timestamp, e.extra::text, e.source_dag_id, e.source_task_id, e.source_run_id, e.source_map_index, e.partition_key,
       a.name, a.uri, a."group", a.extra::text,
       (SELECT array_agg(l.name ORDER BY l.name) FROM runs_assetevent_source_aliases x JOIN dags_assetalias l ON l.id = x.assetalias_id
        WHERE x.assetevent_id = e.id)
FROM {source} JOIN dags_asset a ON a.id = e.asset_id WHERE {where}
"""
_CONSUMED = _EVENT.format(
    first="c.run_id", source="runs_assetevent_runs c JOIN runs_assetevent e ON e.id = c.assetevent_id", where="c.run_id = ANY(%s::bigint[])"
) + " ORDER BY e.timestamp, e.id"  # fmt: skip
_WINDOW = "(%(after)s::timestamptz IS NULL OR e.timestamp >= %(after)s) AND (%(before)s::timestamptz IS NULL OR e.timestamp <= %(before)s)"
_NAMED = "(%(name)s::text IS NULL OR a.name = %(name)s) AND (%(uri)s::text IS NULL OR a.uri = %(uri)s)"
_OF_ASSET = _EVENT.format(first="0", source="runs_assetevent e", where=f"{_NAMED} AND {_WINDOW}")
_OF_ALIAS = _EVENT.format(
    first="0",
    source="dags_assetalias l JOIN runs_assetevent_source_aliases s ON s.assetalias_id = l.id "
    "JOIN runs_assetevent e ON e.id = s.assetevent_id",
    where="l.name = %(alias)s AND " + _WINDOW,
)  # fmt: skip


def _event(r: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "id": r[1], "timestamp": r[2].isoformat(), "extra": exact_loads(r[3]), "source_dag_id": r[4], "source_task_id": r[5],
        "source_run_id": r[6], "source_map_index": r[7], "partition_key": r[8],
        "asset": {"name": r[9], "uri": r[10], "group": r[11], "extra": exact_loads(r[12])},
        "source_aliases": [{"name": n} for n in r[13] or ()],
    }  # fmt: skip


def consumed(run_pks: Collection[int]) -> dict[int, list[dict[str, Any]]]:
    """Events that started these runs, by run, oldest first; no query for no runs."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in sql.rows(_CONSUMED, [sorted(run_pks)]) if run_pks else ():
        found[row[0]].append(_event(row))
    return found


_UNUSABLE = """
SELECT a.name, a.uri FROM dags_asset a WHERE a.name = ANY(%s::text[]) AND NOT a.is_active
    AND EXISTS (SELECT 1 FROM dags_asset r WHERE r.is_active AND (r.name = a.name OR r.uri = a.uri))
"""


def unusable(tasks: Mapping[int, TaskSpec]) -> dict[int, list[str]]:
    """Assets these tasks read or write that lost their name or URI to another one (row 1.220), by key of the task.

    No query for tasks without inlets and outlets.
    """
    wanted = {
        pk: {(d["name"], d["uri"]) for d in (*t.inlets, *t.outlets) if d.get("type") == "asset"}
        for pk, t in tasks.items() if t.inlets or t.outlets
    }  # fmt: skip
    names = {name for keys in wanted.values() for name, _ in keys}
    lost = set(sql.rows(_UNUSABLE, [sorted(names)])) if names else set()
    return {pk: [f"{name} ({uri})" for name, uri in sorted(keys & lost)] for pk, keys in wanted.items() if keys & lost}


def history(
    *, name: str | None = None, uri: str | None = None, alias: str | None = None, after: datetime | None = None,
    before: datetime | None = None, ascending: bool = True, limit: int | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Events of an asset (by name, URI or both) or of an alias; the first or last `limit` of them, in the order asked for."""
    order = "" if ascending and limit is not None else " DESC"
    sorted_ = f" ORDER BY e.timestamp{order}, e.id{order} LIMIT %(limit)s"
    asked = {"name": name, "uri": uri, "alias": alias, "after": after, "before": before}
    most = MOST if limit is None else min(limit, MOST)
    rows = sql.rows((_OF_ALIAS if alias is not None else _OF_ASSET) + sorted_, {**asked, "limit": most})
    return [_event(r) for r in (reversed(rows) if ascending and order else rows)]
