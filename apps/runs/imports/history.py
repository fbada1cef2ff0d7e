"""Runs that ended in the old Airflow, with their task instances: so that grids, durations and schedules go on where they were.

For `import_airflow --history`. Only DAGs that Trackside knows, only runs that ended, none that is here already. Logs, XComs and
tries stay where they are. Rows are born in their final state (`transitions.imported`).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from apps.access import audit
from apps.dags import next_runs
from apps.dags.models import Dag
from apps.runs.imports.database import Source
from apps.runs.imports.items import Line
from apps.runs.models import Run, TaskInstance
from apps.runs.transitions import imported
from trackside.core.states import RUN_FINISHED, RunType, TriggeredBy
from trackside.core.timetables import DataInterval

BATCH = 200
AUTOMATED = ("scheduled", "backfill", "asset_triggered")
_RUN = (
    "dag_id", "run_id", "run_type", "state", "logical_date", "execution_date", "data_interval_start", "data_interval_end",
    "run_after", "queued_at", "start_date", "end_date", "conf", "triggered_by", "clear_number",
)  # fmt: skip
_TASK = (
    "dag_id", "run_id", "task_id", "map_index", "state", "try_number", "max_tries", "start_date", "end_date", "duration", "operator",
    "pool", "pool_slots", "queue", "priority_weight", "executor", "hostname", "unixname", "queued_dttm", "rendered_map_index",
    "task_display_name",
)  # fmt: skip


def bring(source: Source, actor: audit.Actor, *, dry_run: bool, dag_ids: Sequence[str] = (), now: datetime) -> Iterator[Line]:
    """Import runs DAG by DAG; a line for each DAG and for each reason to leave runs out. Raises Unreadable."""
    dags = {dag.dag_id: dag for dag in Dag.objects.all()}
    batches: dict[str, list[dict[str, Any]]] = defaultdict(list)
    unknown: Counter[str] = Counter()
    left: Counter[tuple[str, str]] = Counter()
    done: Counter[str] = Counter()
    for row in source.rows("dag_run", _RUN, "ORDER BY dag_id, id"):
        dag_id = row["dag_id"]
        if dag_ids and dag_id not in dag_ids:
            continue
        if dag_id not in dags:
            unknown[dag_id] += 1
            continue
        batches[dag_id].append(row)
        if len(batches[dag_id]) == BATCH:
            done[dag_id] += _batch(source, dags[dag_id], batches.pop(dag_id), left, dry_run)
    for dag_id, rows in batches.items():
        done[dag_id] += _batch(source, dags[dag_id], rows, left, dry_run)
    for dag_id, count in unknown.items():
        yield Line("run", dag_id, "skipped", f"{count} run(s): Trackside does not know this DAG; put its file into the DAGs folder first")
    for (dag_id, why), count in left.items():
        yield Line("run", dag_id, "same" if why == "here already" else "skipped", f"{count} run(s): {why}")
    for dag_id, count in done.items():
        if count:
            yield Line("run", dag_id, "new", f"{count} run(s)")
            if not dry_run:
                _afterwards(dags[dag_id], count, actor, now)


def _batch(source: Source, dag: Dag, rows: list[dict[str, Any]], left: Counter[tuple[str, str]], dry_run: bool) -> int:
    here_ids, here_dates = set(), set()
    for run_id, date in Run.objects.filter(dag=dag).values_list("run_id", "logical_date"):
        here_ids.add(run_id)
        here_dates.add(date)
    runs: dict[str, Run] = {}
    for row in rows:
        run_id, date = row["run_id"], _moment(row["logical_date"] or row["execution_date"])
        if run_id in here_ids:
            left[dag.dag_id, "here already"] += 1
        elif date is not None and date in here_dates:
            left[dag.dag_id, "another run has their logical date"] += 1
        elif row["state"] not in RUN_FINISHED:
            left[dag.dag_id, "they have not ended; let them end, then import again"] += 1
        elif len(run_id) > 250:
            left[dag.dag_id, "their run id is longer than 250 characters"] += 1
        else:
            runs[run_id] = _run(dag, row)
            here_dates.add(date)
    if dry_run or not runs:
        return len(runs)
    with transaction.atomic():
        imported.store(runs.values(), _tasks(source, dag.dag_id, runs))
    return len(runs)


def _run(dag: Dag, row: dict[str, Any]) -> Run:
    logical = _moment(row["logical_date"] or row["execution_date"])
    start, end = _moment(row["data_interval_start"]) or logical, _moment(row["data_interval_end"]) or logical
    began = _moment(row["start_date"])
    after = _moment(row["run_after"]) or end or began or datetime.now(UTC)
    kind = row["run_type"] if row["run_type"] in set(RunType) else RunType.MANUAL
    triggered_by = str(row["triggered_by"] or "timetable").lower()
    return imported.ended_run(
        row["state"], dag=dag, run_id=row["run_id"], run_type=kind, logical_date=logical,
        data_interval_start=start, data_interval_end=end, run_after=after, queued_at=_moment(row["queued_at"]), start_date=began,
        end_date=_moment(row["end_date"]) or began or after, conf=_conf(row["conf"]),
        triggered_by=triggered_by if triggered_by in set(TriggeredBy) else "timetable", clear_number=row["clear_number"] or 0,
    )  # fmt: skip


def _tasks(source: Source, dag_id: str, runs: dict[str, Run]) -> Iterator[TaskInstance]:
    ids = list(runs)
    where = f"WHERE dag_id = ? AND run_id IN ({', '.join('?' * len(ids))})"
    for row in source.rows("task_instance", _TASK, where, [dag_id, *ids]):
        run = runs[row["run_id"]]
        yield imported.ended_task(
            row["state"], run=run, dag_id=dag_id, task_id=row["task_id"], map_index=-1 if row["map_index"] is None else row["map_index"],
            try_number=row["try_number"] or 0, max_tries=max(row["max_tries"] or 0, 0), start_date=_moment(row["start_date"]),
            end_date=_moment(row["end_date"]), duration=row["duration"], operator=row["operator"] or "",
            pool=row["pool"] or "default_pool", pool_slots=max(row["pool_slots"] or 1, 1), queue=row["queue"] or "default",
            priority_weight=row["priority_weight"] or 1, executor=row["executor"], hostname=row["hostname"] or "",
            unixname=row["unixname"] or "", queued_at=_moment(row["queued_dttm"]), rendered_map_index=row["rendered_map_index"],
            task_display_name=row["task_display_name"] or row["task_id"],
        )  # fmt: skip


def _afterwards(dag: Dag, count: int, actor: audit.Actor, now: datetime) -> None:
    """The schedule goes on after the newest automated run."""
    newest = (
        Run.objects.filter(dag=dag, run_type__in=AUTOMATED, data_interval_end__isnull=False).order_by("-data_interval_end").first()
    )
    with transaction.atomic():
        if newest is not None and newest.data_interval_start is not None and newest.data_interval_end is not None:
            next_runs.schedule_next(dag, DataInterval(newest.data_interval_start, newest.data_interval_end), now)
            dag.save(update_fields=list(next_runs.NEXT_COLUMNS))
        audit.record("import_history", actor, dag_id=dag.dag_id, extra={"runs": count})


def _moment(value: Any) -> datetime | None:
    """A moment of any driver: SQLite has text, MySQL naive moments; all are UTC."""
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    found: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)
    return found.astimezone(UTC)


def _conf(value: Any) -> dict[str, Any]:
    """A run's conf. Airflow 2 pickled it; pickles are never opened, so it is empty then."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}
