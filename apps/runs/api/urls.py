"""The URL table of the REST API: signing in, all operations, the published description."""

from __future__ import annotations

from importlib import import_module

from django.urls import path

MODULES = (
    "apps.access.api.auth",
    "apps.access.api.connections",
    "apps.access.api.variables",
    "apps.dags.api.dags",
    "apps.dags.api.problems",
    "apps.dags.api.tags",
    "apps.dags.api.tasks",
    "apps.dags.api.versions",
    "apps.runs.api.asset_events",
    "apps.runs.api.assets",
    "apps.runs.api.backfills",
    "apps.runs.api.clearing",
    "apps.runs.api.dags",
    "apps.runs.api.dependencies",
    "apps.runs.api.event_logs",
    "apps.runs.api.hitl",
    "apps.runs.api.logs",
    "apps.runs.api.marking",
    "apps.runs.api.monitor",
    "apps.runs.api.partitions",
    "apps.runs.api.plugins",
    "apps.runs.api.pools",
    "apps.runs.api.queued_events",
    "apps.runs.api.runs",
    "apps.runs.api.state_stores",
    "apps.runs.api.task_instances",
    "apps.runs.api.triggering",
    "apps.runs.api.tries",
    "apps.runs.api.xcoms",
)
"""Modules that register operations. A new family is a module and a line here."""

for _module in MODULES:
    import_module(_module)

from apps.access.api.auth import token_patterns  # noqa: E402  (after the modules it belongs to)
from apps.access.rest import docs  # noqa: E402
from apps.access.rest.routes import operation_patterns, unknown_patterns  # noqa: E402

_operations = operation_patterns()

urlpatterns = [
    *token_patterns,
    *_operations,
    path("openapi.json", docs.description, name="openapi"),
    path("docs", docs.page, name="api_docs"),
    path("redoc", docs.page),
    *unknown_patterns,
]
