"""What the ledger does when the catalogue changes, and what it answers the catalogue. Registered by `apps.RunsConfig`.

`apps.dags` must not import this app; it calls through `apps.dags.hooks`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.dags import hooks
from apps.runs import processes, sql, wake
from apps.runs.errands import callbacks
from apps.runs.errands.service import ErrandRunner
from apps.runs.models import Event, Process
from trackside.core.timetables import DataInterval

_process: dict[str, Process] = {}
_beaten: dict[str, float] = {}
_runner: ErrandRunner | None = None


def register() -> None:
    """Tell the catalogue whom to ask and whom to tell."""
    hooks.register(
        last_automated_interval=last_automated_interval,
        versions_in_use=versions_in_use,
        dag_changed=dag_changed,
        process_beat=process_beat,
        process_end=process_end,
        process_start=process_start,
        user_event=lambda event, arguments, plain: callbacks.tell(event, arguments, plain=plain),
    )


def last_automated_interval(dag_id: str) -> DataInterval | None:
    """Data interval of the newest scheduled or backfilled run; of a run about a partition, the moment it was due."""
    rows = sql.rows(
        "SELECT coalesce(data_interval_start, run_after), coalesce(data_interval_end, run_after) FROM runs_run "
        "WHERE dag_id = %s AND run_type IN ('scheduled', 'backfill') AND (data_interval_start IS NOT NULL OR partition_key IS NOT NULL) "
        "ORDER BY coalesce(logical_date, run_after) DESC LIMIT 1",
        [dag_id],
    )
    return DataInterval(*rows[0]) if rows else None


def versions_in_use(version_ids: Collection[UUID]) -> Iterable[UUID]:
    """Versions that a run, task instance or try refers to."""
    ids = list(version_ids)
    return [
        r[0]
        for r in sql.rows(
            "SELECT v FROM unnest(%(ids)s::uuid[]) AS v WHERE EXISTS (SELECT 1 FROM runs_run WHERE dag_version_id = v) "
            "OR EXISTS (SELECT 1 FROM runs_taskinstance WHERE dag_version_id = v) OR EXISTS (SELECT 1 FROM runs_try WHERE dag_version_id = v)",
            {"ids": ids},
        )
    ]


def dag_changed(dag_ids: Collection[str], verb: str) -> None:
    """One event per DAG; open runs are looked at again, because a pause, a new version or a mended file may move them."""
    Event.objects.bulk_create([Event(kind="dag", verb=verb, dag_id=dag_id) for dag_id in dag_ids] or [Event(kind="import_error", verb=verb)])
    # after the commit: whoever ends a run holds the run and asks for the DAG, this transaction holds the DAG
    ids = list(dag_ids)
    transaction.on_commit(lambda: _look_again(ids))
    wake.send_on_commit(wake.SCHEDULER, wake.LIVE)


def _look_again(dag_ids: list[str]) -> None:
    """Have the running runs of these DAGs planned. One at a time, so that no run is held while another is waited for; a run
    that misses it looks by itself (`planning.PAUSED_POLL`)."""
    for (run_pk,) in sql.rows("SELECT id FROM runs_run WHERE dag_id = ANY(%s::text[]) AND state = 'running' ORDER BY id", [dag_ids]):
        sql.run("UPDATE runs_run SET advance_at = clock_timestamp() WHERE id = %s AND state = 'running'", [run_pk])


def process_beat(kind: str, info: dict[str, Any]) -> None:
    """Keep a process row of the catalogue's processor alive."""
    if time.monotonic() - _beaten.get(kind, 0.0) < settings.HEARTBEAT:
        return
    mine = _process.get(kind)
    if mine is None or not processes.beat(mine.pk, lease=settings.LEASE, **info):
        _process[kind] = processes.register(kind, lease=settings.LEASE, **info)
    _beaten[kind] = time.monotonic()


def process_start(kind: str) -> None:
    """The catalogue's processor begins: user code that is wanted outside of tries runs below its process."""
    global _runner
    process_beat(kind, {})
    _runner = ErrandRunner(lambda: _process[kind].pk if kind in _process else None)
    _runner.start()


def process_end(kind: str) -> None:
    """A clean end of the catalogue's processor."""
    if _runner is not None:
        _runner.stop()
    mine = _process.pop(kind, None)
    if mine is not None:
        processes.end(mine.pk)
