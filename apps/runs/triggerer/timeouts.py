"""Waits that took too long: a deferred task whose time is over goes on in order to fail with TaskDeferralTimeout.

A duty of the scheduler, not of the triggerer: it must not depend on one being there.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.runs import brain, claims, sql, transitions
from apps.runs.triggerer import firing

ERROR = "Trigger timeout"
"""The word by which a task knows that its wait was too long (Airflow's)."""

_DUE = """
SELECT id, try_id, run_id FROM runs_taskinstance
WHERE state = 'deferred' AND next_at <= %(now)s AND (%(runs)s::bigint[] IS NULL OR run_id = ANY(%(runs)s::bigint[]))
ORDER BY next_at LIMIT 500
"""


def run_once(now: datetime) -> list[int]:
    """End waits that are over; the runs concerned. One short transaction."""
    due = sql.rows(_DUE, {"now": now, "runs": None})
    if not due:
        return []
    with transaction.atomic():
        locked = claims.lock_runs({run_pk for _, _, run_pk in due})
        late = sql.rows(_DUE, {"now": now, "runs": locked})
        transitions.resume([firing.failure(pk, try_id, ERROR) for pk, try_id, _ in late], now)
        sql.run("DELETE FROM runs_trigger WHERE ti_id = ANY(%s::bigint[])", [[pk for pk, _, _ in late]])
        brain.touch({run_pk for _, _, run_pk in late}, now)
    return locked
