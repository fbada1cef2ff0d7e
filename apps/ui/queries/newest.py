"""The newest run of each DAG that somebody may see: what home's lanes and causes are judged by. Two statements.

Moments are judged by the database: making objects of ten thousand of them was a third of home's time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Case, F, When

from apps.ui.queries import dags as dag_queries

MOST = 10_000
"""DAGs that home looks at."""
_SQL = """
SELECT d.dag_id, r.id, r.state, coalesce(r.start_date, r.queued_at, r.run_after) <= %(now)s AND coalesce(r.end_date, %(now)s) >= %(since)s
FROM unnest(%(dags)s::text[]) AS d(dag_id) CROSS JOIN LATERAL (
    SELECT * FROM runs_run r WHERE r.dag_id = d.dag_id ORDER BY r.run_after DESC, r.id DESC LIMIT 1
) r
"""


@dataclass(slots=True)
class Newest:
    """One DAG and its newest run."""

    dag_id: str
    paused: bool
    due: datetime | None
    """When it is to run next, if that is before the moment that was asked for and it is not paused."""
    run_pk: int | None = None
    """None for a DAG that never ran."""
    state: str = ""
    lately: bool = False
    """The run went on after the moment that was asked for, and has begun."""


def newest(user: Any, now: datetime, since: datetime, until: datetime) -> dict[str, Newest]:
    """By DAG, in the order of their ids."""
    due = Case(When(is_paused=False, next_run_after__lte=until, then=F("next_run_after")))
    known = dag_queries.visible(user).order_by("dag_id").values_list("dag_id", "is_paused", due)[:MOST]
    found = {dag_id: Newest(dag_id, paused, after) for dag_id, paused, after in known}
    with connection.cursor() as cursor:
        cursor.execute(_SQL, {"dags": list(found), "now": now, "since": since})
        for dag_id, pk, state, lately in cursor.fetchall():
            one = found[dag_id]
            one.run_pk, one.state, one.lately = pk, state, lately
    return found
