"""REST: what is wrong with DAG files (import errors, warnings), and asking for a file to be parsed again."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.db.models import QuerySet

from apps.access import policy
from apps.access.rest.errors import Problem, not_found
from apps.access.rest.fields import moment, text, whole
from apps.access.rest.filters import Equals, Pattern
from apps.access.rest.operations import Call, operation
from apps.access.rest.resources import Resource
from apps.dags.api.fields import file_of
from apps.dags.models import DagFile, DagWarning, ImportProblem


class WarningType(StrEnum):
    """Kinds of warnings (Airflow's words)."""

    ASSET_CONFLICT = "asset conflict"
    NONEXISTENT_POOL = "non-existent pool"
    RUNTIME_VARYING_VALUE = "runtime varying value"


def _problems(call: Call) -> QuerySet[ImportProblem]:
    return ImportProblem.objects.select_related("file")


IMPORT_ERRORS = Resource(
    "import_errors",
    rows=_problems,
    fields=(
        whole("import_error_id", "id"),
        moment("timestamp", "at", null=False),
        text("filename", "file.relative_path"),
        text("bundle_name", "file.bundle_name", null=True),
        text("stack_trace", lambda p: p.stacktrace or p.message),
    ),
    filters=(
        Pattern("filename", "file__relative_path"),
        Equals("filename", "file__relative_path"),
        Equals("bundle_name", "file__bundle_name"),
    ),
    orders={
        "id": "id",
        "import_error_id": "id",
        "timestamp": "at",
        "filename": "file__relative_path",
        "bundle_name": "file__bundle_name",
        "stacktrace": "stacktrace",
        "stack_trace": "stacktrace",
    },
    default_order=("id",),
)


@operation("GET /importErrors", may=("read", "import_error"), query=IMPORT_ERRORS.query, returns=IMPORT_ERRORS.list_schema)
def get_import_errors(call: Call) -> dict[str, Any]:
    """List the files that could not be read, and why."""
    return IMPORT_ERRORS.page(call)


@operation(
    "GET /importErrors/{import_error_id}",
    may=("read", "import_error"),
    path={"import_error_id": int},
    returns=IMPORT_ERRORS.schema,
)
def get_import_error(call: Call, import_error_id: int) -> dict[str, Any]:
    """One import error."""
    problem = _problems(call).filter(pk=import_error_id).first() if abs(import_error_id) < 2**63 else None
    if problem is None:
        raise not_found(f"The ImportError with import_error_id: `{import_error_id}` was not found")
    return IMPORT_ERRORS.one(problem, call)


DAG_WARNINGS = Resource(
    "dag_warnings",
    rows=lambda call: DagWarning.objects.filter(policy.visible_dags(call.user, "dag")).select_related("dag"),
    fields=(
        text("dag_id"),
        text("warning_type", "kind", words=WarningType),
        text("message"),
        moment("timestamp", "at", null=False),
        text("dag_display_name", "dag.dag_display_name"),
    ),
    filters=(Equals("dag_id"), Equals("warning_type", "kind", WarningType)),
    orders={"dag_id": "dag_id", "warning_type": "kind", "message": "message", "timestamp": "at"},
    default_order=("dag_id",),
)


@operation("GET /dagWarnings", may=("read", "warning"), query=DAG_WARNINGS.query, returns=DAG_WARNINGS.list_schema, filtered=True)
def list_dag_warnings(call: Call) -> dict[str, Any]:
    """List what will surprise about DAGs that run."""
    return DAG_WARNINGS.page(call)


@operation("PUT /parseDagFile/{file_token}", may=("edit", "dag"), status=201)
def reparse_dag_file(call: Call, file_token: str) -> None:
    """Parse the file (`file_token` of one of its DAGs) before its turn. 409 while an earlier request waits."""
    from apps.dags import catalogue

    named = file_of(file_token)
    file = DagFile.objects.filter(bundle_name=named[0], relative_path=named[1]).first() if named else None
    if file is None:
        raise not_found("File not found")
    if file.reparse_requested_at is not None:
        message = "The file is already waiting to be parsed."
        raise Problem(
            409,
            {
                "reason": "Unique constraint violation",
                "statement": "hidden",
                "orig_error": "hidden",
                "message": message,
            },
        )
    catalogue.request_parse(file, actor=call.actor)
