"""The numbers beside the navigation of every page and whether a scheduler lives. For `page.show` and the live line."""

from __future__ import annotations

import time
from typing import Any

from django.db import connection

from apps.ui import rights

NAMES = ("dags", "running", "problems", "questions", "schedulers")
GOOD_FOR = 4.0
"""Seconds for which the sockets of a process share one look: below their own pause, so that each look is a new one."""
_seen: dict[bool, tuple[float, dict[str, int]]] = {}


def counts(user: Any) -> dict[str, int]:
    """By name: one statement. People who see only some DAGs get zeros, for a number tells about what they may not see."""
    return _counted(rights.allowed(user, "read", "dag"))


def shared_counts(user: Any) -> dict[str, int]:
    """The same, at most GOOD_FOR seconds old: 200 open pages ask the database as often as one."""
    everything = rights.allowed(user, "read", "dag")
    at, found = _seen.get(everything, (0.0, {}))
    if not found or time.monotonic() - at > GOOD_FOR:
        found = _counted(everything)
        _seen[everything] = (time.monotonic(), found)
    return found


def _counted(everything: bool) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (SELECT count(*) FROM dags_dag WHERE NOT is_stale AND %(all)s),
                   (SELECT count(*) FROM runs_run WHERE state = 'running' AND %(all)s),
                   (SELECT count(*) FROM dags_importproblem WHERE %(all)s),
                   (SELECT count(*) FROM runs_taskinstance WHERE state = 'awaiting_input' AND %(all)s),
                   (SELECT count(*) FROM runs_process WHERE kind = 'scheduler' AND ended_at IS NULL AND lease_until > now())
            """,
            {"all": everything},
        )
        return dict(zip(NAMES, cursor.fetchone() or (0,) * len(NAMES), strict=True))
