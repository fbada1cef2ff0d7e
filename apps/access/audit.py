"""The audit trail: who changed what, by what means. Call `record` in the transaction of the change.

A face that wants its own details in the trail (REST: the masked body of the request) opens `details_of_request` around the
call; they are kept beside what the domain call itself says, under the key `request`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.utils.timezone import now

from apps.access.models import AuditEvent
from apps.access.prepared import insert

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and through which face (rest, ui, admin, cli, scheduler, worker, system)."""

    name: str
    means: str = "system"
    token: str | None = None
    """Which of the person's tokens: its name and how it begins, `nightly (a1b2c3)`; None for sign-ins."""


SYSTEM = Actor("system")
SCRIPT = "script"
"""Where an event names the API token that was used. Not `token`: what bears that word is masked wherever it is shown."""
FAILED_SIGN_IN, LOCKED_OUT = "login_failed", "locked_out"
FAILURES_A_MINUTE = 60

_request: ContextVar[dict[str, Any] | None] = ContextVar("request", default=None)
_address: ContextVar[str | None] = ContextVar("address", default=None)


def note_address(*, scope: Mapping[str, Any] | None = None, environ: Mapping[str, Any] | None = None, **_signal: Any) -> None:
    """Events recorded in this request carry the address it came from.

    Called by `config.asgi` in the request's own task; as a receiver of `request_started` it serves WSGI and Django's test client, because
    under ASGI Django runs receivers in another task.
    """
    client = (scope or {}).get("client")
    address = client[0] if client else (environ or {}).get("REMOTE_ADDR")
    try:
        _address.set(str(ip_address(address)) if address else None)
    except ValueError:  # a Unix socket
        _address.set(None)


def forget_address(**_signal: Any) -> None:
    """Receiver of `request_finished`."""
    _address.set(None)


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
    event = AuditEvent(
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
        address=_address.get(),
        extra=_told(actor, extra),
    )
    insert(event)
    return event


def record_each(action: str, actor: Actor, events: Iterable[Mapping[str, Any]]) -> None:
    """Write events that differ in what they were done to, however many, in a few statements. `events`: arguments of `record`."""
    at, address = now(), _address.get()
    same: dict[str, Any] = {"at": at, "action": action, "actor": actor.name, "means": actor.means, "address": address}
    made = [AuditEvent(**same, **{**event, "extra": _told(actor, event.get("extra"))}) for event in events]
    AuditEvent.objects.bulk_create(made, batch_size=1000)


def _told(actor: Actor, extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is noted beside who and what: details of the call, the token, the request as it came."""
    request = _request.get()
    return {
        **(extra or {}),
        **({SCRIPT: actor.token} if actor.token else {}),
        **({"request": request} if request is not None else {}),
    }


def record_failed_sign_in(username: str, means: str, *, failures: int | None = None) -> None:
    """A wrong name or password, told once a minute for a name and address; `failures` are all of this pair so far."""
    _record_of_strangers(FAILED_SIGN_IN, username, means, {"failures": failures} if failures else {})


def record_lockout(username: str, means: str) -> None:
    """A name is locked for an address: once, when it begins."""
    _record_of_strangers(LOCKED_OUT, username, means, {})


def _record_of_strangers(action: str, username: str, means: str, extra: dict[str, Any]) -> None:
    """Of each kind no more than `FAILURES_A_MINUTE` in all: who has no account here cannot fill the table."""
    since, name = now() - timedelta(minutes=1), username[:150].replace("\x00", "")
    recent = AuditEvent.objects.filter(action=action, at__gt=since)
    if recent.filter(object_type="user", object_id=name, address=_address.get()).exists() or recent.count() >= FAILURES_A_MINUTE:
        return
    record(action, Actor("anonymous", means), object_type="user", object_id=name, extra=extra)


def change(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """`extra` of an edit: the fields that differ, before and after. Values must not be secrets (see `masking.mask`)."""
    names = [name for name in after if not _same(before.get(name), after[name])]
    return {"before": {name: before.get(name) for name in names}, "after": {name: after[name] for name in names}}


def _same(old: Any, new: Any) -> bool:
    """Forms write an empty text where there was nothing."""
    return bool(old == new) or (old in (None, "") and new in (None, ""))


# --- months ---------------------------------------------------------------------------------------------------------------
_PARTITIONS = """
SELECT c.relname, (regexp_match(pg_get_expr(c.relpartbound, c.oid), $$TO \\('([^']+)'\\)$$))[1]::timestamptz
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'access_auditevent'::regclass
"""
PATIENCE = "2s"
"""How long making or dropping a partition waits for whoever reads: it needs the table for a moment, and comes again later."""


def make_room() -> None:
    """The partitions of this month and the next, if they are not there yet. For housekeeping."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
            cursor.execute("SELECT access_audit_month(now()), access_audit_month(now() + interval '1 month')")
    except DatabaseError as e:  # somebody reads, or the server's role does not own the table: the default takes what comes
        logger.info("no partition for the audit trail yet: %s", e)


def prune(days: int, bite: int = 20_000) -> int:
    """Retention: the only way events go. Months that lie whole before `days` ago are dropped, the rest of what is older is deleted
    row by row (`days` is at least 1; 0 keeps everything); how many events went."""
    if days <= 0:
        return 0
    return _drop_months(days) + _delete_older(days, bite)


def _drop_months(days: int) -> int:
    total = 0
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH known(name, upto) AS ({_PARTITIONS}) SELECT name FROM known WHERE"  # noqa: S608 - a constant
            " upto <= clock_timestamp() - make_interval(days => %s) AND upto <= now() - interval '1 day' ORDER BY upto",
            [days],
        )
        for (name,) in cursor.fetchall():
            try:
                with transaction.atomic():
                    cursor.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
                    cursor.execute(f'SELECT count(*) FROM "{name}"')  # noqa: S608 - PostgreSQL's own name of a partition
                    gone = cursor.fetchone()[0]
                    cursor.execute(f'DROP TABLE "{name}"')
            except DatabaseError as e:  # as above; what is not dropped goes row by row
                logger.info("%s is not dropped now: %s", name, e)
                continue
            total += gone
    return total


def _delete_older(days: int, bite: int) -> int:
    total = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL trackside.audit_retention = 'on'")
            cursor.execute(
                "DELETE FROM access_auditevent WHERE id IN (SELECT id FROM access_auditevent"
                " WHERE at < clock_timestamp() - make_interval(days => %s) AND at < now() - interval '1 day' ORDER BY id LIMIT %s)",
                [days, bite],
            )
            gone = cursor.rowcount
            cursor.execute("SET LOCAL trackside.audit_retention = 'off'")
        total += gone
        if gone < bite:
            break
    return total
