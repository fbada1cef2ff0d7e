"""REST: is it alive, which version, which processes; and the facts of the installation (providers, configuration)."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Now

from apps.access import announced
from apps.access.rest.errors import Problem
from apps.access.rest.filters import Custom, Equals, Range
from apps.access.rest.operations import PUBLIC, Call, operation
from apps.access.rest.paging import PAGE
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource
from apps.runs.api.fields import JOB_FIELDS
from apps.runs.models import Process

_PARTS = ("scheduler", "triggerer", "dag_processor")
_JOB_TYPES = {
    "scheduler": "SchedulerJob",
    "triggerer": "TriggererJob",
    "dag_processor": "DagProcessorJob",
    "worker": "WorkerJob",
    "web": "WebJob",
}


def _wire(at: Any) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at is not None else None


@operation("GET /monitor/health", may=PUBLIC, returns={"type": "object"})
def get_health(call: Call) -> dict[str, Any]:
    """Health of the parts; needs no credentials. A part that never ran has a null status (the scheduler: unhealthy)."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        rows = list(
            Process.objects.filter(kind__in=_PARTS)
            .annotate(alive=Case(When(_ALIVE, then=Value(True)), default=Value(False)))
            .order_by("kind", "-alive", "-heartbeat_at")
            .distinct("kind", "alive")
        )
    except Exception:
        out: dict[str, Any] = {"metadatabase": {"status": "unhealthy"}}
        return out | {part: {"status": None, f"latest_{part}_heartbeat": None} for part in _PARTS}
    best: dict[str, Any] = {}
    for row in rows:
        best.setdefault(row.kind, row)
    out = {"metadatabase": {"status": "healthy"}}
    for part in _PARTS:
        found = best.get(part)
        status = ("healthy" if found.alive else "unhealthy") if found else "unhealthy" if part == "scheduler" else None
        out[part] = {"status": status, f"latest_{part}_heartbeat": _wire(found.heartbeat_at) if found else None}
    return out


@operation("GET /version", may=PUBLIC, returns={"type": "object"})
def get_version(call: Call) -> dict[str, Any]:
    """Version of Trackside; needs no credentials."""
    return {"version": settings.VERSION, "git_version": f".release:{settings.VERSION}"}


_ALIVE = Q(ended_at__isnull=True, lease_until__gt=Now())


def _jobs(call: Call) -> QuerySet[Any]:
    kinds = [When(kind=kind, then=Value(name)) for kind, name in _JOB_TYPES.items()]
    return Process.objects.annotate(
        life=Case(
            When(ended_at__isnull=False, then=Value("success")),
            When(lease_until__lte=Now(), then=Value("failed")),
            default=Value("running"),
        ),
        job_type=Case(*kinds, default=F("kind")),
    )


def _by_life(rows: QuerySet[Any], alive: bool) -> QuerySet[Any]:
    return rows.filter(_ALIVE) if alive else rows.exclude(_ALIVE)


JOBS = Resource(
    "jobs",
    rows=_jobs,
    fields=JOB_FIELDS,
    filters=(
        Custom(Param("is_alive", bool), _by_life),
        Range("start_date", "started_at", open_end=True),
        Range("end_date", "ended_at", open_end=True),
        Equals("job_state", "life"),
        Equals("job_type"),
        Equals("hostname"),
        Custom(Param("executor_class"), lambda rows, name: rows.none()),
    ),
    orders={
        "id": "started_at",
        "dag_id": "started_at",
        "state": "life",
        "job_type": "job_type",
        "start_date": "started_at",
        "end_date": "ended_at",
        "latest_heartbeat": "heartbeat_at",
        "executor_class": "started_at",
        "hostname": "hostname",
        "unixname": "hostname",
    },
    default_order=("id",),
)


@operation("GET /jobs", may=("read", "monitor"), query=JOBS.query, returns=JOBS.list_schema)
def get_jobs(call: Call) -> dict[str, Any]:
    """List the processes: schedulers, DAG processors, triggerers, workers."""
    return JOBS.page(call)


_NOTHING: dict[str, Any] = {"type": "object"}


_OWN = {
    "package_name": "trackside",
    "description": "Operators, sensors and executors that come with Trackside",
    "version": settings.VERSION,
    "documentation_url": "https://trackside.readthedocs.io/",
}


@operation("GET /providers", may=("read", "monitor"), query=PAGE, returns=_NOTHING)
def get_providers(call: Call) -> dict[str, Any]:
    """What brings operators: Trackside itself and the provider packages beside this server (workers may have others)."""
    found = [_OWN, *map(_provider, announced.read()["packages"])]
    start = min(call.query["offset"], len(found))
    return {"providers": found[start : start + call.query["limit"]], "total_entries": len(found)}


def _provider(package: dict[str, Any]) -> dict[str, Any]:
    """A package as Airflow words it: its description without the links and quotes of reStructuredText."""
    plain = re.sub(r"`([^`<]*?)\s*(?:<[^`>]*>)?`_*", r"\1", package["description"])
    return {
        "package_name": package["name"],
        "description": " ".join(plain.split()),
        "version": package["version"],
        "documentation_url": package["documentation_url"],
    }


def _hidden() -> Problem:
    return Problem(403, "The configuration is not exposed by the REST API; see the settings page of the documentation.")


@operation("GET /config", may=("read", "config"), query=(Param("section"),))
def get_config(call: Call) -> None:
    """Refused: the configuration is not exposed."""
    raise _hidden()


@operation("GET /config/section/{section}/option/{option}", may=("read", "config"))
def get_config_value(call: Call, section: str, option: str) -> None:
    """Refused: the configuration is not exposed."""
    raise _hidden()
