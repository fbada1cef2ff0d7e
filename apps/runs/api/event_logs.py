"""REST: the audit trail, as Airflow's event logs. `extra` is text: the masked body of the request that made the change."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import Q, QuerySet

from apps.access import policy
from apps.access.models import AuditEvent
from apps.access.rest.errors import bad_request, not_found
from apps.access.rest.fields import moment, text, whole
from apps.access.rest.filters import Custom, Equals, Pattern
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import DateTime, Param
from apps.access.rest.resources import Resource
from apps.dags.models import Dag
from apps.runs.models import TaskInstance


def _rows(call: Call) -> QuerySet[AuditEvent]:
    rows = AuditEvent.objects.all()
    if policy.visible_dags(call.user) != Q():
        rows = rows.filter(dag_id__in=Dag.objects.filter(policy.visible_dags(call.user)).values("pk"))
    return rows


def _attach_names(events: list[Any], call: Call) -> None:
    """Display names of DAGs and tasks, two queries for a page."""
    dags = dict(Dag.objects.filter(pk__in={e.dag_id for e in events if e.dag_id}).values_list("pk", "dag_display_name"))
    wanted = {(e.dag_id, e.task_id) for e in events if e.task_id}
    names: dict[tuple[str, str], str] = {}
    if wanted:
        tis = TaskInstance.objects.filter(dag_id__in={d for d, _ in wanted}, task_id__in={t for _, t in wanted})
        names = {(d, t): n for d, t, n in tis.values_list("dag_id", "task_id", "task_display_name").distinct()}
    for event in events:
        event.shown_dag = dags.get(event.dag_id) if event.dag_id else None
        event.shown_task = names.get((event.dag_id, event.task_id), event.task_id) if event.task_id else None


def _extra(event: AuditEvent) -> str | None:
    shown = event.extra.get("request", event.extra)
    return json.dumps(shown) if shown else None


EVENT_LOGS = Resource(
    "event_logs",
    rows=_rows,
    fields=(
        whole("event_log_id", "id"),
        moment("when", "at", null=False),
        text("dag_id", null=True),
        text("task_id", null=True),
        text("run_id", null=True),
        whole("map_index", null=True),
        whole("try_number", null=True),
        text("event", "action"),
        moment("logical_date", lambda e: None if "request" in e.extra else e.logical_date),
        text("owner", "actor", null=True),
        text("extra", _extra, null=True),
        text("dag_display_name", "shown_dag", null=True),
        text("task_display_name", "shown_task", null=True),
    ),
    filters=(
        Equals("dag_id"),
        Equals("task_id"),
        Equals("run_id"),
        Equals("map_index", kind=int),
        Equals("try_number", kind=int),
        Equals("owner", "actor"),
        Equals("event", "action"),
        Custom(Param("excluded_events", many=True), lambda rows, names: rows.exclude(action__in=names)),
        Custom(Param("included_events", many=True), lambda rows, names: rows.filter(action__in=names)),
        Custom(Param("before", DateTime), lambda rows, at: rows.filter(at__lte=at)),
        Custom(Param("after", DateTime), lambda rows, at: rows.filter(at__gte=at)),
        Pattern("dag_id"),
        Pattern("task_id"),
        Pattern("run_id"),
        Pattern("owner", "actor"),
        Pattern("event", "action"),
    ),
    attach=_attach_names,
    orders={
        "id": "id",
        "event_log_id": "id",
        "dttm": "at",
        "when": "at",
        "dag_id": "dag_id",
        "task_id": "task_id",
        "run_id": "run_id",
        "event": "action",
        "logical_date": "logical_date",
        "owner": "actor",
        "extra": "extra",
    },
    default_order=("id",),
)


@operation("GET /eventLogs", may=("read", "audit"), query=EVENT_LOGS.query, returns=EVENT_LOGS.list_schema)
def get_event_logs(call: Call) -> dict[str, Any]:
    """List what people and programs changed."""
    return EVENT_LOGS.page(call)


@operation("GET /eventLogs/{event_log_id}", may=("read", "audit"), returns=EVENT_LOGS.schema)
def get_event_log(call: Call, event_log_id: str) -> dict[str, Any]:
    """One change."""
    if not event_log_id.removeprefix("-").isdecimal() or len(event_log_id) > 18:
        raise bad_request(f"event_log_id: `{event_log_id}` is not a number")
    event = _rows(call).filter(pk=int(event_log_id)).first()
    if event is None:
        raise not_found("The Event Log with id: `" + event_log_id + "` not found")
    return EVENT_LOGS.one(event, call)
