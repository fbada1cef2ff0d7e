"""Task instances come into being: at the creation of a run, when a mapped task expands, when a DAG version adds tasks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from apps.runs import sql, transitions
from trackside.core import mapping, reasons
from trackside.core.snapshot import CompiledDag
from trackside.core.spec import TaskSpec

_INSERT = """
INSERT INTO runs_taskinstance (run_id, dag_id, task_id, map_index, state, try_id, try_number, max_tries, infra_failures, updated_at, operator,
    task_display_name, pool, pool_slots, queue, priority_weight, executor, hostname, unixname, dag_version_id, reschedules, rendered_map_index, reason_code, reason, reason_since)
SELECT %(run)s::bigint, %(dag)s::text, e.task_id, e.map_index, 'none', gen_random_uuid(), 0, e.max_tries, 0, %(now)s::timestamptz, e.operator,
    e.display, e.pool, e.slots, e.queue, e.weight, e.executor, '', '', %(version)s::uuid, 0, CASE WHEN e.map_index >= 0 THEN e.map_index::text END, e.code, e.text, CASE WHEN e.code IS NULL THEN NULL ELSE %(now)s::timestamptz END
FROM unnest(%(task_ids)s::text[], %(map_indexes)s::int[], %(max_tries)s::int[], %(operators)s::text[], %(displays)s::text[], %(pools)s::text[],
    %(slots)s::int[], %(queues)s::text[], %(weights)s::int[], %(executors)s::text[], %(codes)s::text[], %(texts)s::text[])
    AS e(task_id, map_index, max_tries, operator, display, pool, slots, queue, weight, executor, code, text)
ON CONFLICT (run_id, task_id, map_index) DO NOTHING
RETURNING id, task_id, map_index
"""


def insert(
    run_pk: int, dag: CompiledDag, version_id: UUID | None, what: Iterable[tuple[TaskSpec, int]], now: datetime
) -> list[tuple[int, str, int]]:
    """Create (task, map index) instances that do not exist yet; (pk, task id, map index) of each new one."""
    pairs = list(what)
    if not pairs:
        return []
    tasks = [t for t, _ in pairs]
    why = [reasons.upstream(list(up)) if (up := dag.graph.upstream[t.task_id]) else None for t in tasks]
    return sql.rows(_INSERT, {
        "run": run_pk, "dag": dag.spec.dag_id, "version": version_id, "now": now,
        "task_ids": [t.task_id for t in tasks], "map_indexes": [i for _, i in pairs], "max_tries": [t.retries for t in tasks],
        "operators": [t.operator for t in tasks], "displays": [t.task_display_name or t.task_id for t in tasks],
        "pools": [t.pool for t in tasks], "slots": [t.pool_slots for t in tasks], "queues": [t.queue for t in tasks],
        "weights": [dag.graph.priority[t.task_id] for t in tasks], "executors": [t.executor for t in tasks],
        "codes": [w and w.code for w in why], "texts": [w and w.text for w in why],
    })  # type: ignore[return-value]  # fmt: skip


def create_for_run(
    run_pk: int, dag: CompiledDag, version_id: UUID | None, logical_date: datetime | None, now: datetime, *, run_type: str
) -> None:
    """Instances of every task that takes part in a run: not before a task's start_date, not after its end_date.

    Backfills ignore the dates of tasks (Airflow's rule). Mapped tasks over literal lists exist at once with all their
    indexes; those over results begin as one unexpanded instance (map index -1).
    """
    what = []
    for task in dag.spec.tasks:
        if logical_date is not None and run_type != "backfill" and not _takes_part(task, logical_date):
            continue
        length = None
        if mapping.is_expanded_lazily(task, dag) and not mapping.sources(task, dag):
            length = mapping.expansion_length(task, dag, {}, {})
        what += [(task, i) for i in range(length)] if length else [(task, -1)]
    insert(run_pk, dag, version_id, what, now)


def _takes_part(task: TaskSpec, logical_date: datetime) -> bool:
    if task.start_date and logical_date < datetime.fromisoformat(task.start_date):
        return False
    return not (task.end_date and logical_date > datetime.fromisoformat(task.end_date))


def expand(run_pk: int, dag: CompiledDag, version_id: UUID | None, pk: int, task_id: str, length: int, now: datetime) -> list[int]:
    """Turn the unexpanded instance `pk` into index 0 and add the others; pks of all of them, by index."""
    sql.run("UPDATE runs_taskinstance SET map_index = 0, rendered_map_index = '0' WHERE id = %s AND map_index = -1", [pk])
    new = insert(run_pk, dag, version_id, [(dag.graph.tasks[task_id], i) for i in range(1, length)], now)
    return [pk, *(r[0] for r in sorted(new, key=lambda r: r[2]))]


def follow_version(run_pk: int, dag: CompiledDag, version_id: UUID, now: datetime) -> None:
    """Point a run (of an unversioned bundle) at a newer DAG version: new tasks get instances, limits and weights follow.

    Tasks that vanished are removed by the planner, and come back here when the DAG has them again. Finished instances keep the version
    they ran with.
    """
    gone = sql.rows(
        "SELECT unnest(array_agg(id)) FROM runs_taskinstance WHERE run_id = %s AND task_id = ANY(%s::text[]) "
        "GROUP BY task_id HAVING bool_and(state = 'removed')",
        [run_pk, list(dag.graph.tasks)],
    )
    transitions.restore([r[0] for r in gone], now)
    run = sql.rows("UPDATE runs_run SET dag_version_id = %s WHERE id = %s RETURNING logical_date, run_type", [version_id, run_pk])[0]
    sql.run(
        "UPDATE runs_taskinstance SET dag_version_id = %s WHERE run_id = %s AND state IN ('none', 'scheduled', 'up_for_retry', 'up_for_reschedule')",
        [version_id, run_pk],
    )
    existing = {r[0] for r in sql.rows("SELECT DISTINCT task_id FROM runs_taskinstance WHERE run_id = %s", [run_pk])}
    missing = [t for t in dag.spec.tasks if t.task_id not in existing and (run[0] is None or _takes_part(t, run[0]))]
    insert(run_pk, dag, version_id, [(t, -1) for t in missing], now)


_REFRESH = """
UPDATE runs_taskinstance ti SET pool = e.pool, pool_slots = e.slots, queue = e.queue, priority_weight = e.weight, executor = e.executor, operator = e.operator
FROM unnest(%(pks)s::bigint[], %(pools)s::text[], %(slots)s::int[], %(queues)s::text[], %(weights)s::int[], %(executors)s::text[], %(operators)s::text[])
    AS e(pk, pool, slots, queue, weight, executor, operator)
WHERE ti.id = e.pk
"""


def refresh(what: list[tuple[int, TaskSpec]], dag: CompiledDag) -> None:
    """Let instances follow what their task says now: pool, slots, queue, weight, executor (Airflow's rule on clear)."""
    if what:
        tasks = [t for _, t in what]
        sql.run(_REFRESH, {
            "pks": [pk for pk, _ in what], "pools": [t.pool for t in tasks], "slots": [t.pool_slots for t in tasks], "queues": [t.queue for t in tasks],
            "weights": [dag.graph.priority[t.task_id] for t in tasks], "executors": [t.executor for t in tasks], "operators": [t.operator for t in tasks],
        })  # fmt: skip


_FOLLOW = """
UPDATE runs_taskinstance ti SET pool = coalesce(e.pool, ti.pool), pool_slots = coalesce(e.slots, ti.pool_slots), queue = coalesce(e.queue, ti.queue),
    priority_weight = coalesce(e.weight, ti.priority_weight), executor = coalesce(e.executor, ti.executor)
FROM unnest(%(pks)s::bigint[], %(pools)s::text[], %(slots)s::int[], %(queues)s::text[], %(weights)s::int[], %(executors)s::text[])
    AS e(pk, pool, slots, queue, weight, executor)
WHERE ti.id = e.pk
"""


def follow_tries(scheduled: list[tuple[int, str, int]], dag: CompiledDag) -> None:
    """Let tries that begin have what the user's code wants for their number (`TaskSpec.by_try`): (pk, task id, try number)."""
    said = []
    for pk, task_id, number in scheduled:
        if (task := dag.graph.tasks.get(task_id)) is not None and task.by_try:
            said.append((pk, task.by_try[min(max(number, 1), len(task.by_try)) - 1]))
    if said:
        sql.run(_FOLLOW, {
            "pks": [pk for pk, _ in said], "pools": [s.get("pool") for _, s in said], "slots": [s.get("pool_slots") for _, s in said],
            "queues": [s.get("queue") for _, s in said], "weights": [s.get("priority_weight") for _, s in said],
            "executors": [s.get("executor") for _, s in said],
        })  # fmt: skip
