"""REST: versions of DAGs and the source they were parsed from."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse

from apps.access import policy
from apps.access.rest.errors import Problem, not_found
from apps.access.rest.filters import Equals
from apps.access.rest.negotiation import JSON, TEXT, wanted_media
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource
from apps.dags.api.fields import VERSION_FIELDS
from apps.dags.api.lookups import check_dag, the_dag
from apps.dags.models import DagVersion


def _rows(call: Call) -> QuerySet[DagVersion]:
    rows = DagVersion.objects.filter(policy.visible_dags(call.user, "dag"))
    return rows.select_related("dag").defer("spec", "source")


VERSIONS = Resource(
    "dag_versions",
    rows=_rows,
    fields=VERSION_FIELDS,
    filters=(Equals("version_number", "number", int), Equals("bundle_name"), Equals("bundle_version")),
    orders={
        "id": "created_at",
        "version_number": "number",
        "bundle_name": "bundle_name",
        "bundle_version": "bundle_version",
    },
    default_order=("id",),
)


@operation("GET /dags/{dag_id}/dagVersions", may=("read", "version"), query=VERSIONS.query, returns=VERSIONS.list_schema)
def get_dag_versions(call: Call, dag_id: str) -> dict[str, Any]:
    """List the versions of a DAG, `~` for all."""
    check_dag(call, dag_id)
    rows = _rows(call)
    return VERSIONS.page(call, rows if dag_id == "~" else rows.filter(dag_id=dag_id))


@operation(
    "GET /dags/{dag_id}/dagVersions/{version_number}",
    may=("read", "version"),
    path={"version_number": int},
    returns=VERSIONS.schema,
)
def get_dag_version(call: Call, dag_id: str, version_number: int) -> dict[str, Any]:
    """One version."""
    version = _rows(call).filter(dag_id=dag_id, number=version_number).first() if abs(version_number) < 2**31 else None
    if version is None:
        raise not_found(f"The DagVersion with dag_id: `{dag_id}` and version_number: `{version_number}` was not found")
    return VERSIONS.one(version, call)


_SOURCE_SCHEMA = {
    "type": "object",
    "properties": {
        "content": {"type": "string"},
        "dag_id": {"type": "string"},
        "version_number": {"type": "integer"},
        "dag_display_name": {"type": "string"},
    },
}


@operation("GET /dagSources/{dag_id}", may=("read", "source"), query=(Param("version_number", int),), returns=_SOURCE_SCHEMA)
def get_dag_source(call: Call, dag_id: str) -> Any:
    """The text of the file a version came from, as JSON or plain text (Accept). The current version if none is named."""
    media = wanted_media(call.request, JSON, TEXT)
    if media is None:
        raise Problem(406, "Only application/json or text/plain is supported")
    dag = the_dag(call, dag_id)
    versions = DagVersion.objects.filter(dag=dag).defer("spec")
    number = call.query["version_number"]
    chosen = versions.filter(number=number) if number is not None else versions.order_by("-number")
    version = chosen.first() if number is None or abs(number) < 2**31 else None
    if version is None:
        raise not_found(f"The source code of the Dag {dag_id}, version {number if number is not None else 'latest'}, was not found")
    if media == TEXT:
        return HttpResponse(version.source, content_type="text/plain; charset=utf-8")
    return {
        "content": version.source,
        "dag_id": dag_id,
        "version_number": version.number,
        "dag_display_name": dag.dag_display_name,
    }
