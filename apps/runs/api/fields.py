"""Wire forms of runs and task instances, and what their rows need beyond a join (`attach`, once per page)."""

from __future__ import annotations

import getpass
from datetime import UTC
from enum import StrEnum
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from django.utils import timezone

from apps.access.rest.fields import anything, constant, listed, moment, nested, number, text, whole
from apps.access.rest.operations import Call
from apps.dags.api.fields import VERSION_FIELDS
from apps.runs import compiled, sql
from apps.runs.api import sharing
from apps.runs.models import Process, Run, TaskInstance, Trigger
from trackside.core.spec import TaskSpec
from trackside.core.states import RunState, RunType, TaskState, TriggeredBy

RUN_FIELDS = (
    text("dag_run_id", "run_id"),
    text("dag_id"),
    moment("logical_date"),
    moment("queued_at"),
    moment("start_date"),
    moment("end_date"),
    number("duration", null=True),
    moment("data_interval_start"),
    moment("data_interval_end"),
    moment("run_after", null=False),
    moment("last_scheduling_decision", lambda r: r.last_scheduling_decision or r.start_date),
    text("run_type", words=RunType),
    text("state", words=RunState),
    text("triggered_by", words=TriggeredBy, null=True),
    text("triggering_user_name", null=True),
    anything("conf"),
    text("note", null=True),
    listed("dag_versions", VERSION_FIELDS, "shown_versions"),
    text("bundle_version", null=True),
    text("dag_display_name", "dag.dag_display_name"),
    text("partition_key", null=True),
    moment("partition_date"),
)


_VERSIONS_USED = """
SELECT DISTINCT run_id, dag_version_id FROM runs_taskinstance WHERE run_id = ANY(%s::bigint[]) AND dag_version_id IS NOT NULL
"""


def attach_versions(runs: list[Run], call: Call) -> None:
    """Give each run its DAG and the versions its task instances ran with, oldest first: three statements for a page."""
    by_run: dict[int, set[UUID]] = {run.pk: {run.dag_version_id} if run.dag_version_id else set() for run in runs}
    for run_pk, version_id in sql.rows(_VERSIONS_USED, [list(by_run)]):
        by_run[run_pk].add(version_id)
    sharing.give_dags(runs)
    known = sharing.versions(set().union(*by_run.values()), [run.dag for run in runs])
    for run in runs:
        versions = [known[v] for v in by_run[run.pk] if v in known]
        run.shown_versions = sorted(versions, key=lambda v: v.number)  # type: ignore[attr-defined]


def as_made(run: Run) -> Run:
    """A run just created, ready to be shown as it was made: what a row read back would say, without reading it back."""
    for name in ("logical_date", "data_interval_start", "data_interval_end", "run_after", "partition_date"):
        moment_ = getattr(run, name)
        setattr(run, name, moment_ and moment_.astimezone(UTC))
    if (version := run.dag_version) is not None:
        version.dag = run.dag
    run.duration, run.shown_versions = None, [version] if version is not None else []  # type: ignore[attr-defined]
    return run


@cache
def server_user() -> str:
    """Name of the account the server runs under: what Airflow shows for instances that did not start yet."""
    return getpass.getuser()


WireTaskState = StrEnum("WireTaskState", [(s.name, str(s)) for s in TaskState if s != TaskState.NONE])  # type: ignore[misc]
"""States as clients name them: without the one before the first, which is null."""


def wire_state(state: str | None) -> str | None:
    """Nothing decided yet is null on the wire."""
    return None if state == TaskState.NONE else state


def job_number(process: Process) -> int:
    """Clients want a number; 53 bits of the UUID are exact in JSON."""
    return process.pk.int >> 75


JOB_FIELDS = (
    whole("id", job_number),
    constant("dag_id"),
    text("state", "life", null=True),
    text("job_type", null=True),
    moment("start_date", "started_at"),
    moment("end_date", "ended_at"),
    moment("latest_heartbeat", "heartbeat_at"),
    constant("executor_class"),
    text("hostname", null=True),
    text("unixname", lambda p: server_user(), null=True),
    constant("dag_display_name"),
)
"""A process; `life` and `job_type` are what the reader of the rows adds."""

TRIGGER_FIELDS = (
    whole("id"),
    text("classpath"),
    text("kwargs", "shown_kwargs"),
    moment("created_date", "created_at", null=False),
    text("queue", null=True),
    whole("triggerer_id", lambda g: job_number(g.triggerer) if g.triggerer else None, null=True),
)


def attach_triggers(tis: list[Any]) -> None:
    """Give deferred instances what they wait for. Values of its arguments stay hidden: they may be secrets."""
    deferred = {t.pk: t for t in tis if t.state == TaskState.DEFERRED}
    if not deferred:
        return
    now = timezone.now()
    for trigger in Trigger.objects.filter(ti__in=list(deferred)).select_related("triggerer"):
        trigger.shown_kwargs = str(dict.fromkeys(orjson.loads(trigger.kwargs or "{}"), "***"))  # type: ignore[attr-defined]
        if (process := trigger.triggerer) is not None:
            process.life = "success" if process.ended_at else "running" if process.lease_until > now else "failed"  # type: ignore[attr-defined]
            process.job_type = "TriggererJob"  # type: ignore[attr-defined]
        deferred[trigger.ti_id].shown_trigger = trigger


_SHARED = (
    moment("start_date"),
    moment("end_date"),
    number("duration", null=True),
    text("state", lambda t: wire_state(t.state), words=[s for s in TaskState if s != TaskState.NONE], null=True),
    whole("try_number"),
    whole("max_tries"),
    text("task_display_name"),
    text("dag_display_name", "run.dag.dag_display_name"),
    text("hostname", null=True),
    text("unixname", lambda t: t.unixname or server_user(), null=True),
    text("pool"),
    whole("pool_slots"),
    text("queue", null=True),
    whole("priority_weight", null=True),
    text("operator", "operator_class", null=True),
    text("operator_name", "operator", null=True),
    moment("queued_when", "queued_at"),
    moment("scheduled_when", "scheduled_at"),
    whole("pid", null=True),
    text("executor", null=True),
    text("executor_config", "shown_executor_config"),
)
"""Fields that task instances and their tries have in common."""

_DAG_VERSION = nested("dag_version", VERSION_FIELDS, lambda t: t.dag_version or t.run.dag_version)

TI_FIELDS = (
    text("id", "try_id"),
    text("task_id"),
    text("dag_id"),
    text("dag_run_id", "run.run_id"),
    whole("map_index"),
    moment("logical_date", "run.logical_date"),
    moment("run_after", "run.run_after", null=False),
    *_SHARED,
    text("note", null=True),
    text("rendered_map_index", null=True),
    anything("rendered_fields", lambda t: t.rendered_fields or {}),
    nested("trigger", TRIGGER_FIELDS, lambda t: getattr(t, "shown_trigger", None)),
    nested("triggerer_job", JOB_FIELDS, lambda t: getattr(t, "shown_trigger", None) and t.shown_trigger.triggerer),
    _DAG_VERSION,
)

TRY_FIELDS = (
    text("task_id"),
    text("dag_id"),
    text("dag_run_id", "run.run_id"),
    whole("map_index"),
    *_SHARED,
    _DAG_VERSION,
)


def attach_specs(tis: list[Any], call: Call) -> None:
    """Give each instance what only the DAG's spec knows: class of the operator, executor_config. From memory, as a rule."""
    sharing.give_runs_and_versions(tis)
    attach_triggers([t for t in tis if isinstance(t, TaskInstance)])
    versions = {v.pk: v.spec_hash for t in tis if (v := t.dag_version or t.run.dag_version) is not None}
    dags = compiled.get_many(versions.items()) if versions else {}
    for t in tis:
        version = t.dag_version or t.run.dag_version
        dag = dags.get(version.pk) if version is not None else None
        task: TaskSpec | None = dag.graph.tasks.get(t.task_id) if dag is not None else None
        t.operator_class = (task.class_name if task is not None else "") or t.operator
        t.shown_executor_config = str(task.executor_config) if task is not None else "{}"
