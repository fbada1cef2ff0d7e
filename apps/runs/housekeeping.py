"""What must not grow for ever: events that pages and trails have read, processes that ended long ago,
values of state stores that expired. In small bites."""

from __future__ import annotations

from django.conf import settings

from apps.access import audit, rates
from apps.runs import processes, sql
from apps.runs.stores import store

BITE = 20_000
"""Rows deleted at once, so that no transaction is long."""


def run_once() -> int:
    """Delete what is older than its retention; how many events went."""
    processes.prune()
    sql.run("DELETE FROM runs_errand WHERE ended_at < clock_timestamp() - make_interval(days => %s)", [settings.EVENT_RETENTION_DAYS])
    store.clean()
    rates.prune()
    audit.make_room()
    audit.prune(settings.AUDIT_RETENTION_DAYS)
    total = 0
    while True:
        gone = sql.run(
            "DELETE FROM runs_event WHERE id IN (SELECT id FROM runs_event WHERE at < clock_timestamp() - make_interval(days => %s) ORDER BY id LIMIT %s)",
            [settings.EVENT_RETENTION_DAYS, BITE],
        )
        total += gone
        if gone < BITE:
            return total
