"""Rows → `core.snapshot.Snapshot`, for many runs in a fixed number of queries.

Two queries for ordinary runs; the past, branch decisions and mapped lengths are read only for DAGs that have such tasks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson

from apps.runs import compiled, sql
from trackside.core import mapping
from trackside.core.snapshot import CompiledDag, PastRun, RunRow, Snapshot, TaskRow

DECISION_KEY = "skipmixin_key"
"""XCom in which branches and short circuits leave their decision (Airflow's name)."""

_RUNS = """
SELECT r.id, r.run_id, r.state, r.run_type, r.logical_date, r.start_date, r.backfill_id IS NOT NULL AND r.backfill_order = 1,
       r.reason_code, r.reason, r.marked, d.is_paused, d.dag_id, d.catchup, v.id, v.spec_hash
FROM runs_run r JOIN dags_dag d ON d.dag_id = r.dag_id LEFT JOIN dags_dagversion v ON v.id = coalesce(r.dag_version_id, d.current_version_id)
WHERE r.id = ANY(%s::bigint[])
"""
_TASKS = """
SELECT run_id, id, task_id, map_index, state, try_number, max_tries, next_at, reason_code, reason
FROM runs_taskinstance WHERE run_id = ANY(%s::bigint[]) ORDER BY id
"""


@dataclass(slots=True)
class _Loaded:
    run: RunRow
    dag: CompiledDag
    dag_id: str
    paused: bool
    catchup: bool


def load(run_pks: Sequence[int]) -> dict[int, Snapshot]:
    """Snapshots by run pk; runs whose DAG has no version left are missing from the answer."""
    rows = sql.rows(_RUNS, [list(run_pks)])
    dags = compiled.get_many({(r[13], r[14]) for r in rows if r[13] is not None})
    loaded = [
        _Loaded(RunRow(*r[:10]), dags[r[13]], r[11], r[10], r[12])
        for r in rows
        if r[13] in dags
    ]
    tasks: dict[int, list[TaskRow]] = defaultdict(list)
    for run_pk, *columns in sql.rows(_TASKS, [list(run_pks)]):
        tasks[run_pk].append(TaskRow(*columns))
    decisions = _decisions([x.run.pk for x in loaded if any(t.skips for t in x.dag.spec.tasks)])
    lengths = _lengths({x.run.pk: x.dag for x in loaded})
    return {
        x.run.pk: Snapshot(
            dag=x.dag, run=x.run, tasks=tasks[x.run.pk], past=_past(x) if x.dag.needs_past else None,
            decisions=decisions.get(x.run.pk, {}), lengths=lengths.get(x.run.pk, {}), paused=x.paused,
        )
        for x in loaded
    }  # fmt: skip


def _decisions(run_pks: list[int]) -> dict[int, dict[tuple[str, int], dict[str, list[str]]]]:
    out: dict[int, dict[tuple[str, int], dict[str, list[str]]]] = defaultdict(dict)
    if run_pks:
        for run_pk, task_id, map_index, value in sql.rows(
            "SELECT run_id, task_id, map_index, value FROM runs_xcom WHERE run_id = ANY(%s::bigint[]) AND key = %s", [run_pks, DECISION_KEY]
        ):
            decision = orjson.loads(value)
            if isinstance(decision, dict):
                out[run_pk][task_id, map_index] = decision
    return out


def _lengths(dags: dict[int, CompiledDag]) -> dict[int, dict[str, dict[int, int]]]:
    out: dict[int, dict[str, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
    wanted = {
        pk: [s for t in dag.spec.tasks for s in mapping.sources(t, dag)]
        for pk, dag in dags.items()
        if dag.mapped_groups or any(t.mapped for t in dag.spec.tasks)
    }
    if wanted:
        names = sorted({s for sources in wanted.values() for s in sources})
        for run_pk, task_id, map_index, length in sql.rows(
            "SELECT run_id, task_id, map_index, coalesce(length, 0) FROM runs_xcom "
            "WHERE run_id = ANY(%s::bigint[]) AND key = 'return_value' AND task_id = ANY(%s::text[])",
            [list(wanted), names],
        ):
            out[run_pk][task_id][map_index] = length
    return out


_PREVIOUS = """
SELECT id, run_id, logical_date FROM runs_run
WHERE dag_id = %(dag)s AND logical_date < %(date)s AND (NOT %(catchup)s OR run_type <> 'manual')
ORDER BY logical_date DESC LIMIT 1
"""


def _past(x: _Loaded) -> PastRun | None:
    """The previous run (Airflow's rule): by logical date; with catchup only non-manual ones."""
    if x.run.logical_date is None:
        return None
    previous = sql.rows(_PREVIOUS, {"dag": x.dag_id, "date": x.run.logical_date, "catchup": x.catchup})
    if not previous:
        return None
    run_pk, run_id, logical_date = previous[0]
    past = PastRun(run_id=run_id, logical_date=logical_date)
    for task_id, state in sql.rows("SELECT task_id, state FROM runs_taskinstance WHERE run_id = %s", [run_pk]):
        past.states.setdefault(task_id, []).append(state)
    missing = [t for t in x.dag.needs_past if t not in past.states and x.dag.graph.tasks[t].ignore_first_depends_on_past]
    if missing:
        past.had_before = frozenset(
            r[0]
            for r in sql.rows(
                "SELECT DISTINCT ti.task_id FROM runs_taskinstance ti JOIN runs_run r ON r.id = ti.run_id "
                "WHERE ti.dag_id = %s AND ti.task_id = ANY(%s::text[]) AND r.logical_date < %s",
                [x.dag_id, missing, x.run.logical_date],
            )
        )
    return past


def version_of(run_pk: int) -> UUID | None:
    """The DAG version a run is planned with."""
    rows = sql.rows(
        "SELECT coalesce(r.dag_version_id, d.current_version_id) FROM runs_run r JOIN dags_dag d ON d.dag_id = r.dag_id WHERE r.id = %s",
        [run_pk],
    )
    return rows[0][0] if rows else None
