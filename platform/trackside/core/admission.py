"""Which scheduled task instances may take a place now: pools, max_active_tasks, per-task limits. Pure.

`apps/runs/admission.py` counts live rows under one lock, asks here, and moves what is admitted to queued. Candidates come
best first; one that does not fit never holds up those behind it (Airflow's starvation rule), except that its own pool or
run stays full for them too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from trackside.core.reasons import Reason


@dataclass(slots=True)
class Candidate:
    """One scheduled task instance and the limits that apply to it."""

    pk: int
    run_pk: int
    dag_id: str
    task_id: str
    pool: str
    slots: int
    max_active_tasks: int
    """Of the DAG, per run."""
    task_limit: int | None = None
    """max_active_tis_per_dag."""
    task_run_limit: int | None = None
    """max_active_tis_per_dagrun."""
    team: str | None = None
    """Of the DAG; only asked where pools have teams."""


@dataclass(slots=True)
class Usage:
    """What is taken now. Changed in place as candidates are admitted."""

    pools: dict[str, int] = field(default_factory=dict)
    """Pool → total slots; -1 is no limit."""
    pool_teams: dict[str, str] = field(default_factory=dict)
    """Pool → the only team whose DAGs may use it."""
    pool_used: Counter[str] = field(default_factory=Counter)
    runs: Counter[int] = field(default_factory=Counter)
    """Run → queued and running instances (max_active_tasks)."""
    tasks: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(DAG, task) → active instances over all runs; counts deferred and awaiting ones too (Airflow's ACTIVE_STATES)."""
    run_tasks: Counter[tuple[int, str]] = field(default_factory=Counter)


def refuse(c: Candidate, usage: Usage) -> Reason | None:
    """Why the candidate must wait, or None if it fits."""
    total = usage.pools.get(c.pool)
    if total is None:
        return Reason("pool_missing", f"Pool {c.pool} does not exist. Create it, or change the task's pool.")
    if (owner := usage.pool_teams.get(c.pool)) and owner != c.team:
        mine = f"is of team {c.team}" if c.team else "is of no team"
        return Reason(
            "pool_of_team",
            f"Pool {c.pool} belongs to team {owner}, and this DAG {mine}. Name another pool, or ask an administrator about pool or DAG.",
        )
    if total >= 0:
        used = usage.pool_used[c.pool]
        if c.slots > total:
            return Reason(
                "pool_too_small", f"Needs {c.slots} slots, but pool {c.pool} has only {total}. Enlarge the pool or lower pool_slots."
            )
        if used + c.slots > total:
            return Reason("pool_full", f"Pool {c.pool} is full ({used} of {total} slots taken). It goes on when a task there ends.")
    if usage.runs[c.run_pk] >= c.max_active_tasks:
        return Reason("run_limit", f"The run already has {c.max_active_tasks} active tasks (max_active_tasks). It goes on when one ends.")
    if c.task_limit is not None and usage.tasks[c.dag_id, c.task_id] >= c.task_limit:
        return Reason(
            "task_limit",
            f"{c.task_limit} instances of this task are active in all runs (max_active_tis_per_dag). It goes on when one ends.",
        )
    if c.task_run_limit is not None and usage.run_tasks[c.run_pk, c.task_id] >= c.task_run_limit:
        return Reason(
            "task_run_limit",
            f"{c.task_run_limit} instances of this task are active in this run (max_active_tis_per_dagrun). It goes on when one ends.",
        )
    return None


def admit(candidates: Iterable[Candidate], usage: Usage) -> tuple[list[int], dict[int, Reason]]:
    """pks to queue, in order, and the reason for each that must wait."""
    admitted: list[int] = []
    waiting: dict[int, Reason] = {}
    for c in candidates:
        if (why := refuse(c, usage)) is not None:
            waiting[c.pk] = why
            continue
        admitted.append(c.pk)
        usage.pool_used[c.pool] += c.slots
        usage.runs[c.run_pk] += 1
        usage.tasks[c.dag_id, c.task_id] += 1
        usage.run_tasks[c.run_pk, c.task_id] += 1
    return admitted, waiting
