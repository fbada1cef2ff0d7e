"""The audit trail: who changed what, by what means. Call `record` in the transaction of the change.

A face that wants its own details in the trail (REST: the masked body of the request) opens `details_of_request` around the
call; they are kept beside what the domain call itself says, under the key `request`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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

_request: ContextVar[dict[str, Any] | None] = ContextVar("request", default=None)


@contextmanager
def details_of_request(details: dict[str, Any]) -> Iterator[None]:
    """Every event recorded inside carries `details` (already masked) in its extra, under `request`."""
    token = _request.set(details)
    try:
        yield
    finally:
        _request.reset(token)


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
    request = _request.get()
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
        extra={**(extra or {}), **({"request": request} if request is not None else {})},
    )
