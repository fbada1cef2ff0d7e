"""Scheduled → queued under every limit. Slots are counted from live rows under one advisory lock, never kept.

Called at the end of `brain.advance` (so that the next task can leave with the same answer) and by the scheduler's tick.
The decision is `trackside.core.admission`; this module counts, asks, and moves.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from apps.access import teams
from apps.dags import ownership
from apps.runs import claims, compiled, sql, transitions
from trackside.core.admission import Candidate, Usage, admit
from trackside.core.reasons import PAUSED, Reason

BATCH = 512
MAX_BATCHES = 20

_USAGE = """
SELECT pool, run_id, dag_id, task_id, state, sum(pool_slots), count(*) FROM runs_taskinstance
WHERE state IN ('queued', 'running', 'restarting', 'deferred', 'awaiting_input') GROUP BY 1, 2, 3, 4, 5
"""
_CANDIDATES = """
SELECT ti.id, ti.run_id, ti.dag_id, ti.task_id, ti.pool, ti.pool_slots, d.max_active_tasks, d.has_task_concurrency_limits,
       v.id, v.spec_hash
FROM runs_taskinstance ti JOIN runs_run r ON r.id = ti.run_id JOIN dags_dag d ON d.dag_id = ti.dag_id
LEFT JOIN dags_dagversion v ON v.id = coalesce(r.dag_version_id, d.current_version_id)
WHERE ti.state = 'scheduled' AND r.state = 'running' AND NOT d.is_paused
  AND NOT ti.pool = ANY(%(full_pools)s::text[]) AND NOT ti.run_id = ANY(%(full_runs)s::bigint[]) AND NOT ti.id = ANY(%(seen)s::bigint[])
ORDER BY ti.priority_weight DESC, r.logical_date NULLS LAST, r.run_after, ti.map_index, ti.id
LIMIT %(limit)s FOR NO KEY UPDATE OF ti SKIP LOCKED
"""


def anything_scheduled() -> bool:
    """Whether admission could have work; cheap (partial index)."""
    return bool(sql.rows("SELECT 1 FROM runs_taskinstance WHERE state = 'scheduled' LIMIT 1"))


def run_once(now: datetime) -> int:
    """Admit everything that fits; the number admitted. Holds the admission lock until the caller's transaction ends."""
    claims.lock_admission()
    usage = _usage()
    seen: list[int] = []
    waiting: dict[int, Reason] = {}
    admitted_total = 0
    full_runs: list[int] = []
    for _ in range(MAX_BATCHES):
        rows = sql.rows(_CANDIDATES, {"full_pools": _full_pools(usage), "full_runs": full_runs, "seen": seen, "limit": BATCH})
        if not rows:
            break
        candidates = _candidates(rows)
        _name_teams(candidates, usage)
        admitted, refused = admit(candidates, usage)
        # the rest of a full run need not be looked at one by one: thousands of them would hide what is behind them
        full_runs += {c.run_pk for c in candidates if usage.runs[c.run_pk] >= c.max_active_tasks}
        admitted_total += len(transitions.admit(admitted, now))
        waiting |= refused
        seen += refused
        if len(rows) < BATCH:
            break
    transitions.explain(waiting, now)
    return admitted_total


_SILENT = """
SELECT ti.id, ti.pool, d.is_paused, r.state, d.max_active_tasks FROM runs_taskinstance ti
JOIN runs_run r ON r.id = ti.run_id JOIN dags_dag d ON d.dag_id = ti.dag_id
WHERE ti.state = 'scheduled' AND ti.reason_code IS DISTINCT FROM CASE WHEN r.state <> 'running' THEN 'run_waits' WHEN d.is_paused THEN 'paused'
    WHEN ti.pool = ANY(%(full_pools)s::text[]) THEN 'pool_full'
    ELSE coalesce(nullif(nullif(ti.reason_code, 'paused'), 'run_waits'), 'run_limit') END LIMIT 5000
"""


def explain_waiting(now: datetime) -> int:
    """Sentences for what `run_once` does not look at one by one: paused DAGs, runs that wait, full pools, full runs."""
    with transaction.atomic():
        usage = _usage()
        full = set(_full_pools(usage))
        silent = {pk: rest for pk, *rest in sql.rows(_SILENT, {"full_pools": sorted(full)})}
        why: dict[int, Reason | None] = {}
        for pk in claims.free_instances(silent, "scheduled") if silent else ():
            pool, paused, run_state, limit = silent[pk]
            if run_state != "running":
                why[pk] = Reason("run_waits", f"The run is {run_state}. It goes on when the run is running.")
            elif paused:
                why[pk] = PAUSED
            elif pool in full:
                total, used = usage.pools[pool], usage.pool_used[pool]
                why[pk] = Reason("pool_full", f"Pool {pool} is full ({used} of {total} slots taken). It goes on when a task there ends.")
            else:
                why[pk] = Reason("run_limit", f"The run already has {limit} active tasks (max_active_tasks). It goes on when one ends.")
        return transitions.explain(why, now)


def _usage() -> Usage:
    usage = Usage()
    deferred_too = set()
    for name, slots, include_deferred, team in sql.rows("SELECT name, slots, include_deferred, team_name FROM runs_pool"):
        usage.pools[name] = slots
        if team:
            usage.pool_teams[name] = team
        if include_deferred:
            deferred_too.add(name)
    for pool, run_pk, dag_id, task_id, state, slots, count in sql.rows(_USAGE):
        occupies = state in ("queued", "running", "restarting")
        if occupies or (state == "deferred" and pool in deferred_too):
            usage.pool_used[pool] += slots
        if occupies:
            usage.runs[run_pk] += count
        usage.tasks[dag_id, task_id] += count
        usage.run_tasks[run_pk, task_id] += count
    return usage


def _name_teams(candidates: list[Candidate], usage: Usage) -> None:
    """Who is of which team, if a pool that is wanted is some team's; most sites have none and pay nothing."""
    wanting = [c for c in candidates if c.pool in usage.pool_teams]
    if not wanting:
        return
    if not (known := teams.rules()):
        usage.pool_teams.clear()  # names of teams are labels
        return
    codes = ownership.codes_of({c.dag_id for c in wanting})
    for c in wanting:
        c.team = known.team_of(codes.get(c.dag_id))


def _full_pools(usage: Usage) -> list[str]:
    return [name for name, total in usage.pools.items() if 0 <= total <= usage.pool_used[name] and total > 0]


def _candidates(rows: list[tuple]) -> list[Candidate]:
    limited: dict[UUID, compiled.CompiledDag] = compiled.get_many({(r[8], r[9]) for r in rows if r[7] and r[8] is not None})
    out = []
    for pk, run_pk, dag_id, task_id, pool, slots, max_active_tasks, _, version_id, _ in rows:
        c = Candidate(pk, run_pk, dag_id, task_id, pool, slots, max_active_tasks)
        dag = limited.get(version_id)
        if dag is not None and (task := dag.graph.tasks.get(task_id)) is not None:
            c.task_limit, c.task_run_limit = task.max_active_tis_per_dag, task.max_active_tis_per_dagrun
        out.append(c)
    return out
