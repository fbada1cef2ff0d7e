"""Old runs go, while others run: TRACKSIDE_RUN_RETENTION_DAYS, and `trackside db prune` by hand.

The tables are not partitioned: a run of a year ago may be cleared and run again, which no partition by time survives, and its
rows are found by its key. So finished runs are deleted in bites that hold locks for milliseconds, by one process at a time.
Kept whatever their age: what is not finished, the newest finished run of each DAG, and its newest scheduled or backfilled one,
from which the next interval is counted. With a run go its task instances, tries, XComs, notes and logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from apps.access import audit
from apps.runs import claims, logs, sql
from apps.runs.models import Run, Try

LOCK = 7_411_004
BITE = 500
"""Task instances at a time, or one run that has more."""
MOST_RUNS = 50
_AUTOMATED = "('scheduled', 'backfill')"
"""`listening.last_automated_interval` counts from the newest of these that has an interval or a partition."""
_DUE = f"""
SELECT r.id, (SELECT count(*) FROM runs_taskinstance ti WHERE ti.run_id = r.id)
FROM runs_run r WHERE r.state IN ('success', 'failed') AND r.end_date < %(before)s AND r.run_after < %(before)s
  AND EXISTS (SELECT 1 FROM runs_run n WHERE n.dag_id = r.dag_id AND (n.run_after, n.id) > (r.run_after, r.id) AND n.state IN ('success', 'failed'))
  AND (r.run_type NOT IN {_AUTOMATED} OR EXISTS (
      SELECT 1 FROM runs_run n WHERE n.dag_id = r.dag_id AND n.run_type IN {_AUTOMATED}
      AND (n.data_interval_start IS NOT NULL OR n.partition_key IS NOT NULL)
      AND (coalesce(n.logical_date, n.run_after), n.id) > (coalesce(r.logical_date, r.run_after), r.id)))
ORDER BY r.run_after, r.id LIMIT %(limit)s
"""  # noqa: S608
ACTOR = audit.Actor("retention", "scheduler")


@dataclass(slots=True)
class Pruned:
    """What one bite took."""

    runs: int = 0
    task_instances: int = 0
    more: bool = False


def due(before: datetime, limit: int = MOST_RUNS) -> list[tuple[int, int]]:
    """(run, its task instances) of what may go, oldest first."""
    return [(pk, n) for pk, n in sql.rows(_DUE, {"before": before, "limit": limit})]


def prune_once(days: int, *, actor: audit.Actor = ACTOR) -> Pruned:
    """One bite of what ended more than `days` ago (0: nothing). `more`: there is more to take."""
    if days <= 0:
        return Pruned()
    before = sql.now() - timedelta(days=days)
    with transaction.atomic():
        if not sql.rows("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])[0][0]:
            return Pruned()
        found = due(before)
        chosen = _bite(found)
        # again under the lock: a person may have cleared one meanwhile
        locked = claims.lock_runs(chosen) if chosen else []
        pks = list(Run.objects.filter(pk__in=locked, state__in=("success", "failed"), end_date__lt=before).values_list("pk", flat=True))
        tries = list(Try.objects.filter(ti__run__in=pks).values_list("id", flat=True))
        if pks:
            Run.objects.filter(pk__in=pks).delete()
            audit.record("prune_dag_runs", actor, extra={"runs": len(pks), "older_than_days": days})
            transaction.on_commit(lambda: logs.delete(tries))
    return Pruned(len(pks), sum(chosen[pk] for pk in pks), more=(bool(pks) and len(found) > len(chosen)) or len(found) == MOST_RUNS)


def _bite(found: list[tuple[int, int]]) -> dict[int, int]:
    chosen: dict[int, int] = {}
    for pk, count in found:
        if chosen and sum(chosen.values()) + count > BITE:
            break
        chosen[pk] = count
    return chosen
