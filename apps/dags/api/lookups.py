"""Finding the DAG a path names, or the 404 that says it is not there. A DAG that may not be read does not exist."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from apps.access import policy
from apps.access.rest.errors import Problem, not_found
from apps.access.rest.operations import Call
from apps.dags.models import Dag
from trackside.core.spec import DagSpec


def dag_not_found(dag_id: str) -> Problem:
    """404 for a DAG."""
    return not_found(f"The Dag with ID: `{dag_id}` was not found")


def the_dag(call: Call, dag_id: str, *related: str) -> Dag:
    """The DAG, with the named relations."""
    rows = Dag.objects.filter(policy.visible_dags(call.user), pk=dag_id)
    dag = (rows.select_related(*related) if related else rows).first()
    if dag is None:
        raise dag_not_found(dag_id)
    return dag


def check_dag(call: Call, dag_id: str) -> None:
    """404 unless the DAG exists; `~` stands for all."""
    if dag_id != "~" and not Dag.objects.filter(policy.visible_dags(call.user), pk=dag_id).exists():
        raise dag_not_found(dag_id)


def timetable_zone(dag: Dag) -> ZoneInfo:
    """The zone in which the DAG's timetable counts days."""
    return ZoneInfo(str(dag.timetable.get("timezone") or "UTC"))


def the_spec(call: Call, dag_id: str) -> tuple[Dag, DagSpec]:
    """The DAG and the spec of its current version."""
    dag = the_dag(call, dag_id, "current_version")
    if dag.current_version is None:
        raise not_found(f"The Dag with ID: `{dag_id}` has no version yet: its file was not parsed without errors")
    return dag, DagSpec.from_dict(dag.current_version.spec)
