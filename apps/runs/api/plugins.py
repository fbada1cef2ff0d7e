"""REST: plugins and what is wrong with them, as a child process described them; deadlines of runs.

Plugins are never loaded here (`apps.runs.errands.plugin_report`). The paths of deadlines are those of Airflow's private
`/ui` operations, below `/api/v2`.
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from apps.access.rest.errors import not_found
from apps.access.rest.fields import flag, moment, text
from apps.access.rest.filters import Range
from apps.access.rest.operations import Call, operation
from apps.access.rest.paging import PAGE
from apps.access.rest.resources import Resource
from apps.dags.models import Dag
from apps.runs import compiled
from apps.runs.api.lookups import run_rows, the_run
from apps.runs.errands import plugin_report
from apps.runs.models import Deadline

_ANY: dict[str, Any] = {"type": "object"}
_LISTED = (
    *("name", "macros", "flask_blueprints", "fastapi_apps", "fastapi_root_middlewares", "external_views", "react_apps", "appbuilder_views"),
    *("appbuilder_menu_items", "global_operator_extra_links", "operator_extra_links", "source", "listeners", "timetables"),
)
_EXTRA = ("priority_weight_strategies", "hook_lineage_readers", "deadline_references", "not_supported")
"""Told beyond what Airflow tells; `not_supported` names attributes that do nothing here."""


@operation("GET /plugins", may=("read", "monitor"), query=PAGE, returns=_ANY)
def get_plugins(call: Call) -> dict[str, Any]:
    """Plugins that parsing and task processes load."""
    found = plugin_report.read().get("plugins", [])
    start = call.query["offset"]
    shown = [{name: plugin.get(name, []) for name in (*_LISTED, *_EXTRA)} for plugin in found[start : start + call.query["limit"]]]
    for plugin in shown:
        plugin["external_views"] = [*plugin["external_views"], *plugin["appbuilder_menu_items"]]
    return {"plugins": shown, "total_entries": len(found)}


@operation("GET /plugins/importErrors", may=("read", "monitor"), returns=_ANY)
def import_errors(call: Call) -> dict[str, Any]:
    """Plugins that cannot be used, and why."""
    found = sorted(plugin_report.read().get("errors", {}).items())
    return {"import_errors": [{"source": source, "error": error} for source, error in found], "total_entries": len(found)}


DEADLINES = Resource(
    "deadlines",
    rows=lambda call: Deadline.objects.filter(run__in=run_rows(call)).select_related("run"),
    fields=(
        text("id", lambda d: str(d.pk)),
        moment("deadline_time", null=False),
        flag("missed"),
        moment("created_at", null=False),
        text("dag_id", "run.dag_id"),
        text("dag_run_id", "run.run_id"),
        text("alert_id", lambda d: None, null=True),
        text("alert_name", "name", null=True),
    ),
    filters=(Range("deadline_time", "deadline_time"), Range("last_updated_at", "last_updated_at")),
    orders={
        "deadline_time": "deadline_time", "id": "id", "created_at": "created_at", "last_updated_at": "last_updated_at", "missed": "missed",
        "dag_id": "run__dag_id", "dag_run_id": "run__run_id", "alert_name": "name",
    },
    default_order=("deadline_time",),
)  # fmt: skip


@operation("GET /dags/{dag_id}/dagRuns/{dag_run_id}/deadlines", may=("read", "run"), query=DEADLINES.query, returns=DEADLINES.list_schema)
def get_deadlines(call: Call, dag_id: str, dag_run_id: str) -> dict[str, Any]:
    """Deadlines of a run, missed or to come; `~` for all runs or DAGs."""
    rows: QuerySet[Deadline] = Deadline.objects.filter(run__in=run_rows(call)).select_related("run")
    if dag_run_id != "~":
        rows = rows.filter(run=the_run(call, dag_id, dag_run_id))
    elif dag_id != "~":
        rows = rows.filter(run__dag_id=dag_id)
    return DEADLINES.page(call, rows)


@operation("GET /dags/{dag_id}/deadlineAlerts", may=("read", "dag"), query=PAGE, returns=_ANY)
def get_deadline_alerts(call: Call, dag_id: str) -> dict[str, Any]:
    """Deadlines that a DAG's runs get; `interval` in seconds, null when a variable says it."""
    dag = Dag.objects.select_related("current_version").filter(dag_id=dag_id).first()
    if dag is None or dag.current_version is None:
        raise not_found(f"The Dag with ID: `{dag_id}` was not found")
    spec = compiled.get_many([(dag.current_version.id, dag.current_version.spec_hash)])[dag.current_version.id].spec
    start = call.query["offset"]
    shown = [
        {
            "id": f"{dag.current_version.id}-{index}",
            "name": alert.get("name"),
            "reference_type": (alert.get("reference") or {}).get("reference_type"),
            "interval": alert["interval"] if isinstance(alert.get("interval"), int | float) else None,
            "created_at": dag.current_version.created_at,
        }
        for index, alert in enumerate(spec.deadlines)
    ]
    return {"deadline_alerts": shown[start : start + call.query["limit"]], "total_entries": len(shown)}
