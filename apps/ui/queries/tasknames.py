"""Tasks by a part of their name, over all DAGs: for the palette, which asks with every letter.

Names lie inside the specs of versions. A process reads each current version's names once and keeps them as one text per version;
what does not fit (`KEPT`) is read again each time.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connection

from apps.access import policy
from apps.dags.models import Dag

KEPT = 64_000_000
"""Characters of names that a process keeps."""
_kept: dict[tuple[UUID, str], str] = {}
_NAMES = """
SELECT v.id, v.spec_hash, coalesce(string_agg(t->>'task_id', E'\\n'), '') FROM dags_dagversion v
LEFT JOIN LATERAL jsonb_array_elements(v.spec->'tasks') t ON true WHERE v.id = ANY(%s) GROUP BY v.id
"""
_NEWEST = """
SELECT w.dag_id, w.task_id, r.run_id, t.map_index FROM unnest(%s::text[], %s::text[]) AS w(dag_id, task_id) CROSS JOIN LATERAL (
    SELECT run_id, map_index FROM runs_taskinstance t WHERE t.dag_id = w.dag_id AND t.task_id = w.task_id ORDER BY run_id DESC LIMIT 1
) t JOIN runs_run r ON r.id = t.run_id
"""


def matching(user: Any, q: str, most: int) -> list[tuple[str, str, str, int]]:
    """(DAG, task, run id of its newest instance or empty, map index) of tasks with `q` in their name: whole names first, then beginnings.

    Of `orders load` and `orders.load` the first word may be in the DAG's id instead. Three statements at most.
    """
    low = q.lower()
    dags = Dag.objects.filter(policy.visible_dags(user), is_stale=False, current_version__isnull=False).order_by("dag_id")
    rows = list(dags.values_list("dag_id", "current_version_id", "current_version__spec_hash"))
    names = _names({(version, spec_hash) for _, version, spec_hash in rows})
    head, _, tail = low.replace(".", " ", 1).partition(" ")
    found = []
    for dag_id, version, spec_hash in rows:
        text = names.get((version, spec_hash), "")
        lowered = text.lower()
        wanted = low if low in lowered else tail.strip() if tail.strip() and head in dag_id.lower() and tail.strip() in lowered else ""
        if wanted:
            for task_id in text.split("\n"):
                here = task_id.lower()
                if wanted in here:
                    found.append(((here != wanted, not here.startswith(wanted), dag_id, task_id), dag_id, task_id))
    best = [(dag_id, task_id) for _rank, dag_id, task_id in sorted(found)[:most]]
    runs = _newest(best)
    return [(*one, *runs.get(one, ("", -1))) for one in best]


def _names(wanted: set[tuple[UUID, str]]) -> dict[tuple[UUID, str], str]:
    missing = [version for version, spec_hash in wanted if (version, spec_hash) not in _kept]
    if not missing:
        return _kept
    with connection.cursor() as cursor:
        cursor.execute(_NAMES, [missing])
        read = {(version, spec_hash): text for version, spec_hash, text in cursor.fetchall()}
    if len(_kept) > 2 * len(wanted) + 1000:  # mostly versions that are not current any more
        _kept.clear()
    size = sum(map(len, _kept.values()))
    for key, text in read.items():
        if (size := size + len(text)) <= KEPT:
            _kept[key] = text
    return {**_kept, **read}


def _newest(tasks: list[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, int]]:
    if not tasks:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST, [[dag_id for dag_id, _ in tasks], [task_id for _, task_id in tasks]])
        return {(dag_id, task_id): (run_id, index) for dag_id, task_id, run_id, index in cursor.fetchall()}
