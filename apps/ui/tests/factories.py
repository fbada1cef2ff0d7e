"""Rows for tests of pages and sockets: a DAG with its version, runs, task instances, tries. Straight inserts."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db import connection
from django.utils.timezone import now

from apps.access.models import User
from apps.dags.models import Dag, DagVersion
from apps.runs.models import Event, Run, TaskInstance, Try
from trackside.core.spec import DagSpec, GroupSpec, TaskSpec


def user(name: str = "mara", **kwargs: object) -> User:
    """A person who may do everything."""
    return User.objects.create_superuser(name, password="mara", **kwargs)


def spec(dag_id: str, task_ids: list[str], groups: dict[str, list[str]] | None = None, **kwargs: object) -> DagSpec:
    """A chain of tasks; `groups` maps a group to the tasks in it."""
    groups = groups or {}
    group_of = {t: g for g, ts in groups.items() for t in ts}
    tasks = [
        TaskSpec(t, operator="@task", group_id=group_of.get(t), downstream=[task_ids[k + 1]] if k + 1 < len(task_ids) else [])
        for k, t in enumerate(task_ids)
    ]
    root = [t for t in task_ids if t not in group_of] + list(groups)
    return DagSpec(dag_id=dag_id, tasks=tasks, groups=[GroupSpec(g, None, ts, g) for g, ts in groups.items()], root_children=root, **kwargs)


def dag(dag_id: str = "orders", task_ids: list[str] | None = None, *, made: DagSpec | None = None, **kwargs: object) -> Dag:
    """A DAG that is on, with version 1."""
    made = made or spec(dag_id, task_ids or ["extract", "load", "check"])
    row = Dag.objects.create(dag_id=dag_id, dag_display_name=dag_id, is_paused=False, fileloc="/dags/x.py", **kwargs)
    row.current_version = DagVersion.objects.create(
        dag=row, number=1, spec=made.to_dict(), spec_hash=made.structure_hash(), source="print('hello')\n"
    )
    row.save()
    return row


def run(of: Dag, *, state: str = "success", at: datetime | None = None, states: dict[str, str] | None = None, **kwargs: object) -> Run:
    """A run with an instance of each task; `states` overrides single tasks."""
    at = at or now()
    ended = at + timedelta(seconds=60) if state in ("success", "failed") else None
    row = Run.objects.create(
        dag=of, run_id=f"manual__{uuid.uuid4().hex}", run_type="manual", state=state, run_after=at, start_date=at, end_date=ended,
        dag_version=of.current_version, expanded=True, **kwargs,
    )  # fmt: skip
    assert of.current_version is not None
    plain = {"success": "success", "failed": "success", "running": "none", "queued": "none"}[state]
    TaskInstance.objects.bulk_create(
        TaskInstance(
            run=row, dag_id=of.dag_id, task_id=t["task_id"], state=(states or {}).get(t["task_id"], plain), operator="@task", try_number=1,
            start_date=at, end_date=ended, duration=60.0, dag_version=of.current_version,
        )
        for t in of.current_version.spec["tasks"]
    )  # fmt: skip
    return row


def a_try(of: TaskInstance, *, state: str = "success", **kwargs: object) -> Try:
    """The current try of a task instance."""
    return Try.objects.create(id=of.try_id, ti=of, number=max(1, of.try_number), state=state, start_date=of.start_date, **kwargs)


def move(ti: TaskInstance, state: str) -> None:
    """A state change with its event, in one transaction, the way `transitions` writes them: the row first, then the event."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE runs_taskinstance SET state = %s WHERE id = %s", [state, ti.pk])
    tell(ti, state)


def tell(ti: TaskInstance, state: str) -> Event:
    """Only the event."""
    return Event.objects.create(
        kind="task", verb="move", dag_id=ti.dag_id, run_pk=ti.run_id, run_id="r",
        payload={"state": state, "tis": [[ti.pk, ti.task_id, ti.map_index, ti.try_number]]},
    )  # fmt: skip
