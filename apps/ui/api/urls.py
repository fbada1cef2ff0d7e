"""The URL table of the whole REST API: signing in, all operations of all apps, the published description.

Made here, above all apps, so that every operation is registered before the first pattern is built.
"""

from __future__ import annotations

from importlib import import_module

from django.urls import path

from apps.access.api.auth import token_patterns
from apps.access.rest import docs
from apps.access.rest.routes import operation_patterns, unknown_patterns
from apps.runs.api.families import MODULES as BELOW

MODULES = (*BELOW, *(f"apps.ui.api.{name}" for name in ("actions", "events", "logs", "switching", "waiting", "why")))
"""Modules that register operations. A new family is a module and a name here, or in `apps.runs.api.families`."""

for _module in MODULES:
    import_module(_module)

urlpatterns = [
    *token_patterns,
    *operation_patterns(),
    path("openapi.json", docs.description, name="openapi"),
    path("docs", docs.page, name="api_docs"),
    path("redoc", docs.page),
    *unknown_patterns,
]
