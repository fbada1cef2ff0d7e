"""A small catalogue and ledger for the tests of the REST API, made of rows: no file is parsed, nothing runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from apps.dags.models import Dag, DagFile, DagTag, DagVersion
from apps.runs.models import Run, TaskInstance
from trackside.core.spec import DagSpec, GroupSpec, TaskSpec

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def task(task_id: str, **kwargs: Any) -> TaskSpec:
    """A task as a DAG file would describe it."""
    return TaskSpec(task_id, **{"operator": "@task", "class_name": "_PythonDecoratedOperator", "module": "airflow.providers.x", **kwargs})


def make_dag(dag_id: str, *, tasks: tuple[TaskSpec, ...] = (), tags: tuple[str, ...] = (), **columns: Any) -> Dag:
    """A DAG with one version; by default `first` → `second`."""
    chosen = list(tasks) or [task("first", downstream=["second"], owner="ann"), task("second", owner="bob")]
    spec_fields = columns.pop("spec", {})
    spec = DagSpec(dag_id, tasks=chosen, start_date="2024-01-01T00:00:00.000000+00:00", **spec_fields)
    file, _ = DagFile.objects.get_or_create(relative_path=f"{dag_id}.py", defaults={"path": f"/dags/{dag_id}.py"})
    dag = Dag.objects.create(
        dag_id=dag_id,
        **{
            "dag_display_name": dag_id,
            "is_paused": False,
            "file": file,
            "fileloc": file.path,
            "relative_fileloc": file.relative_path,
            "owners": spec.owners,
            "timetable": {"kind": "null"},
            "timetable_description": "Never, external triggers only",
            "timetable_type": "airflow.timetables.simple.NullTimetable",
            **columns,
        },
    )
    dag.current_version = DagVersion.objects.create(
        dag=dag, number=1, spec=spec.to_dict(), spec_hash=spec.structure_hash(), source=f"# {dag_id}\n"
    )
    dag.save()
    for name in tags:
        DagTag.objects.create(dag=dag, name=name)
    return dag


def make_run(dag: Dag, run_id: str, *, day: int | None = 0, state: str = "success", tis: bool = True, **columns: Any) -> Run:
    """A run with an instance of each task, all in the state that fits the run's."""
    logical = None if day is None else NOON + timedelta(days=day)
    ended = state in ("success", "failed")
    run = Run.objects.create(
        dag=dag,
        run_id=run_id,
        **{
            "run_type": "manual",
            "state": state,
            "logical_date": logical,
            "run_after": logical or NOON,
            "start_date": NOON + timedelta(days=day or 0, minutes=1) if state != "queued" else None,
            "end_date": NOON + timedelta(days=day or 0, minutes=1, seconds=30) if ended else None,
            "dag_version": dag.current_version,
            **columns,
        },
    )
    if tis and dag.current_version is not None:
        for spec in dag.current_version.spec["tasks"]:
            make_ti(run, spec["task_id"], state=state if ended else "none", operator=spec["operator"])
    return run


def make_ti(run: Run, task_id: str, **columns: Any) -> TaskInstance:
    """One instance."""
    return TaskInstance.objects.create(
        run=run,
        dag_id=run.dag_id,
        task_id=task_id,
        **{"task_display_name": task_id, "dag_version": run.dag_version, "try_number": 1, "operator": "@task", **columns},
    )


def group(group_id: str, *children: str, parent: str | None = None) -> GroupSpec:
    """A task group."""
    return GroupSpec(group_id, parent_id=parent, children=list(children))
