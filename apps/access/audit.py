"""The audit trail: who changed what, by what means. Call `record` in the transaction of the change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.access.models import AuditEvent


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and through which face (rest, ui, admin, cli, scheduler, worker, system)."""

    name: str
    means: str = "system"


SYSTEM = Actor("system")


def record(
    action: str,
    actor: Actor,
    *,
    dag_id: str | None = None,
    run_id: str | None = None,
    task_id: str | None = None,
    map_index: int | None = None,
    try_number: int | None = None,
    logical_date: datetime | None = None,
    object_type: str | None = None,
    object_id: str | None = None,
    extra: dict[str, Any] | None = None,
) -> AuditEvent:
    """Write one event. `extra` must not contain secrets."""
    return AuditEvent.objects.create(
        action=action,
        actor=actor.name,
        means=actor.means,
        dag_id=dag_id,
        run_id=run_id,
        task_id=task_id,
        map_index=map_index,
        try_number=try_number,
        logical_date=logical_date,
        object_type=object_type,
        object_id=object_id,
        extra=extra or {},
    )
