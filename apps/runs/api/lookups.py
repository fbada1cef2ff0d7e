"""Rows of runs and task instances the caller may see, and finding the one a path names, or its 404."""

from __future__ import annotations

from typing import Any

from django.db.models import F, FloatField, Func, QuerySet

from apps.access import policy
from apps.access.rest.errors import Problem, not_found
from apps.access.rest.operations import Call
from apps.runs.models import Run, TaskInstance

MAX_INT = 2**31


class Seconds(Func):
    """Length of an interval in seconds."""

    template = "EXTRACT(EPOCH FROM (%(expressions)s))::float8"
    arg_joiner = " - "
    output_field = FloatField()


def run_rows(call: Call) -> QuerySet[Run]:
    """Runs as lists show them: with DAG and version, without the large columns of either."""
    rows = Run.objects.filter(policy.visible_dags(call.user, "dag"))
    rows = rows.select_related("dag", "dag_version__dag").defer("dag_version__spec", "dag_version__source")
    return rows.annotate(duration=Seconds(F("end_date"), F("start_date")))


def listed_runs(call: Call) -> QuerySet[Run]:
    """Runs for a page of a list: the rows alone, `fields.attach_versions` brings DAGs and versions once for all of them."""
    return Run.objects.filter(policy.visible_dags(call.user, "dag")).annotate(duration=Seconds(F("end_date"), F("start_date")))


def listed_tis(call: Call) -> QuerySet[TaskInstance]:
    """Task instances for a page of a list: the rows alone, `fields.attach_specs` brings runs, DAGs and versions."""
    return TaskInstance.objects.filter(policy.visible_dags(call.user, "run__dag")).defer("next_kwargs")


def ti_rows(call: Call) -> QuerySet[TaskInstance]:
    """Task instances as lists show them: with run, DAG and version, without the large columns of these."""
    rows = TaskInstance.objects.filter(policy.visible_dags(call.user, "run__dag"))
    rows = rows.select_related("run__dag", "dag_version__dag", "run__dag_version__dag")
    return rows.defer(
        "run__conf",
        "dag_version__spec",
        "dag_version__source",
        "run__dag_version__spec",
        "run__dag_version__source",
    )


def run_not_found(dag_id: str, run_id: str) -> Problem:
    """404 for a run."""
    return not_found(f"The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found")


def ti_not_found(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Problem:
    """404 for a task instance."""
    what = f"dag_id: `{dag_id}`, run_id: `{run_id}`, task_id: `{task_id}` and map_index: `{map_index}`"
    return not_found(f"The Task Instance with {what} was not found")


def the_run(call: Call, dag_id: str, run_id: str) -> Run:
    """One run."""
    run = run_rows(call).filter(dag_id=dag_id, run_id=run_id).first()
    if run is None:
        raise run_not_found(dag_id, run_id)
    return run


def the_ti(call: Call, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> TaskInstance:
    """One task instance; map index -1 is the unmapped one."""
    ti = None
    if abs(map_index) < MAX_INT:
        rows = ti_rows(call).filter(run__dag_id=dag_id, run__run_id=run_id, task_id=task_id, map_index=map_index)
        ti = rows.first()
    if ti is None:
        raise ti_not_found(dag_id, run_id, task_id, map_index)
    return ti


def in_order(pks: list[int], rows: QuerySet[Any]) -> list[Any]:
    """`rows` of these primary keys, in the order of the keys."""
    found = {row.pk: row for row in rows.filter(pk__in=pks)}
    return [found[pk] for pk in pks if pk in found]
