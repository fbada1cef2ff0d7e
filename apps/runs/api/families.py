"""Which modules of the apps below the pages register REST operations. `apps.ui.api.urls` makes the URL table of them."""

from __future__ import annotations

MODULES = (
    "apps.access.api.auth",
    "apps.access.api.connections",
    "apps.access.api.people",
    "apps.access.api.tokens",
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
    "apps.runs.api.teams",
    "apps.runs.api.triggering",
    "apps.runs.api.tries",
    "apps.runs.api.xcoms",
)
"""Modules that register operations. A new family is a module and a line here."""
