"""Living processes and their leases. A process that does not renew in time counts as dead, and what it held is taken over."""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.models import F
from django.db.models.functions import Now

from apps.runs.models import Process

logger = logging.getLogger(__name__)


PATIENCE = 60.0
"""Seconds for which a process that starts waits for a database that is away, as one that runs does for ever."""


def register(kind: str, *, name: str = "", lease: float | None = None, **info: Any) -> Process:
    """A row for this process, alive until its lease (seconds) runs out. Raises OperationalError when the database stays away."""
    until, pause = time.monotonic() + PATIENCE, 0.2
    while True:
        try:
            return _register(kind, name, lease, info)
        except (OperationalError, InterfaceError) as e:
            if connection.in_atomic_block or time.monotonic() > until:
                raise
            logger.warning("%s: database unavailable, again in %.1f s: %s", kind, pause, str(e).strip())
            connection.close()
            time.sleep(pause)
            pause = min(pause * 2, 5.0)


def _register(kind: str, name: str, lease: float | None, info: dict[str, Any]) -> Process:
    process = Process(
        id=uuid.uuid4(), kind=kind, name=name or f"{kind}@{socket.gethostname()}", hostname=socket.gethostname(), pid=os.getpid(),
        version=settings.VERSION, info=info,
    )  # fmt: skip
    process.save(force_insert=True)
    beat(process.id, lease=lease)
    _tell("on_starting", process)
    return process


def beat(process_id: uuid.UUID, *, lease: float | None = None, **info: Any) -> bool:
    """Renew the lease (database clock); False if the row is gone or ended: register anew."""
    fields: dict[str, Any] = {"heartbeat_at": Now(), "lease_until": Now() + timedelta(seconds=lease or settings.LEASE)}
    if info:
        fields["info"] = info
    return Process.objects.filter(pk=process_id, ended_at__isnull=True).update(**fields) == 1


def end(process_id: uuid.UUID) -> None:
    """A clean goodbye."""
    if Process.objects.filter(pk=process_id, ended_at__isnull=True).update(ended_at=Now(), lease_until=Now()):
        _tell("before_stopping", Process.objects.get(pk=process_id))


def _tell(event: str, process: Process) -> None:
    """Listeners of plugins hear of components that start and stop, in a callback process (Airflow: in the component)."""
    from apps.runs.errands import callbacks

    kinds = {"scheduler": "SchedulerJob", "dag_processor": "DagProcessorJob", "triggerer": "TriggererJob", "worker": "WorkerJob"}
    facts = {"job_type": kinds.get(process.kind, process.kind), "hostname": process.hostname, "pid": process.pid, "id": str(process.pk)}
    callbacks.tell(event, {"component": facts})


def alive(kind: str) -> list[Process]:
    """Processes of a kind whose lease holds."""
    return list(Process.objects.filter(kind=kind, ended_at__isnull=True, lease_until__gt=Now()).order_by("started_at"))


def prune(days: int = 2) -> int:
    """Forget processes that ended long ago and hold no try."""
    old = Process.objects.filter(heartbeat_at__lt=Now() - timedelta(days=days)).exclude(tries__state="running")
    return old.delete()[0]


def bury_dead() -> int:
    """Mark processes whose lease ran out as ended, so that they stop counting; their tries are the reaper's business."""
    return Process.objects.filter(ended_at__isnull=True, lease_until__lt=Now()).update(ended_at=F("lease_until"))
