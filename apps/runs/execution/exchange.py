"""One call of a worker: reports up, orders and kills down; one transaction whatever the batch size.

The server never hands a worker more than its slots minus what it holds; rows of the worker (`runs_process`) are locked
while claiming, so that its parked call and its reporting call do not both fill the same slot. Epochs make a lost answer
harmless: see ExchangeRequest.epoch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import transaction

from apps.runs import brain, sql, transitions, wake
from apps.runs.execution import orders, reports
from trackside.core.messages import ExchangeRequest, ExchangeResponse, FinishReport

BEAT_EVERY = 1.0
_beaten: dict[UUID, tuple[float, int]] = {}
"""Worker → (monotonic time of the last lease renewal made here, epoch then)."""


class UnknownWorker(ValueError):
    """worker_id is not a UUID."""


@dataclass(slots=True)
class Outcome:
    """An exchange's answer, and whom to wake once it is committed."""

    response: ExchangeResponse
    more_work: bool = False
    """Tries were queued beyond what this worker took."""
    empty: bool = True
    """Nothing to tell: the call may be parked."""


def serve(request: ExchangeRequest) -> Outcome:
    """Everything of one exchange except waiting."""
    try:
        worker = UUID(request.worker_id)
    except ValueError as e:
        raise UnknownWorker(request.worker_id) from e
    with transaction.atomic():
        now = sql.now()
        epoch = _renew(worker, request, now)
        settled, done = _settle(request, now)
        store_updates(request.updates)
        start = _claim(worker, epoch, request, now)
        kill = _kills(worker, request)
    wake_after(done, settled, started=len(start))
    response = ExchangeResponse(start=start, kill=kill, settled=settled.answers, lease_s=settings.LEASE)
    return Outcome(response, more_work=done.admitted > len(start), empty=not (start or kill or settled.answers))


def look_again(request: ExchangeRequest) -> Outcome:
    """A parked call was woken: only work and kills can be new."""
    worker = UUID(request.worker_id)
    with transaction.atomic():
        now = sql.now()
        start = _claim(worker, request.epoch, request, now)
        kill = _kills(worker, request)
    if start:
        wake.send(wake.LIVE)
    return Outcome(ExchangeResponse(start=start, kill=kill, lease_s=settings.LEASE), empty=not (start or kill))


# --- the worker itself --------------------------------------------------------------------------------------------------
_RENEW = """
INSERT INTO runs_process (id, kind, name, hostname, pid, version, started_at, heartbeat_at, lease_until, epoch, slots, queues, info)
VALUES (%(id)s, 'worker', %(name)s, %(hostname)s, %(pid)s, %(version)s, %(now)s, %(now)s, %(until)s, %(epoch)s, %(slots)s, %(queues)s::jsonb, '{}')
ON CONFLICT (id) DO UPDATE SET heartbeat_at = %(now)s, lease_until = %(until)s, slots = %(slots)s, queues = excluded.queues, ended_at = NULL,
    epoch = greatest(runs_process.epoch, excluded.epoch)
RETURNING epoch
"""


def _renew(worker: UUID, request: ExchangeRequest, now: datetime) -> int:
    """Renew the lease at most once a second; on a new epoch, take back orders that never arrived."""
    at, epoch = _beaten.get(worker, (0.0, -1))
    if epoch == request.epoch and time.monotonic() - at < BEAT_EVERY:
        return epoch
    known = sql.rows(_RENEW, {
        "id": worker, "name": request.name or request.hostname, "hostname": request.hostname, "pid": request.pid, "version": request.version,
        "now": now, "until": now + timedelta(seconds=settings.LEASE), "epoch": request.epoch, "slots": request.slots,
        "queues": orjson.dumps(request.queues).decode(),
    })[0][0]  # fmt: skip
    if known == request.epoch:
        _take_back(worker, request, now)
        _beaten[worker] = (time.monotonic(), known)
    if len(_beaten) > 10_000:
        _beaten.clear()
    return known


def _take_back(worker: UUID, request: ExchangeRequest, now: datetime) -> None:
    """Orders of older epochs that the worker does not hold were lost on the way and can no longer start."""
    held = _uuids([*request.running, *(r.get("try_id", "") for r in request.finished)])
    lost = [r[0] for r in sql.rows(
        "SELECT t.id FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id WHERE t.worker_id = %s AND t.state = 'running' AND t.worker_epoch < %s "
        "AND NOT t.id = ANY(%s::uuid[]) FOR UPDATE OF t, ti", [worker, request.epoch, held])]  # fmt: skip
    transitions.requeue(lost, now)
    # fenced ones among them never ran: there is nothing to kill
    sql.run(
        "UPDATE runs_try SET kill_confirmed = true WHERE worker_id = %s AND NOT kill_confirmed AND worker_epoch < %s AND NOT id = ANY(%s::uuid[])",
        [worker, request.epoch, held],
    )


# --- up -----------------------------------------------------------------------------------------------------------------
def _settle(request: ExchangeRequest, now: datetime) -> tuple[reports.Settled, brain.Advanced]:
    if not request.finished:
        return reports.Settled(), brain.Advanced()
    settled = reports.settle([FinishReport.from_dict(r) for r in request.finished], now)
    return settled, advance_now(settled.run_pks, now)


def advance_now(run_pks: set[int], now: datetime) -> brain.Advanced:
    """Plan runs in this very request; large ones are left to the scheduler."""
    if not run_pks:
        return brain.Advanced()
    large = {r[0] for r in sql.rows(
        "SELECT run_id FROM runs_taskinstance WHERE run_id = ANY(%s::bigint[]) GROUP BY 1 HAVING count(*) > %s", [list(run_pks), brain.LARGE_RUN])}  # fmt: skip
    if large:
        brain.touch(large, now)
        wake.send_on_commit(wake.SCHEDULER)
    return brain.advance(sorted(run_pks - large), now)


def store_updates(updates: list[dict[str, Any]]) -> None:
    """Facts about running tries (pid, rendered fields); of fenced ones they are ignored."""
    for u in updates:
        if not (ids := _uuids([u.get("try_id", "")])):
            continue
        rendered = u.get("rendered_fields")
        sql.run(
            "UPDATE runs_taskinstance ti SET pid = coalesce(%(pid)s, ti.pid), rendered_fields = coalesce(%(rendered)s::jsonb, ti.rendered_fields), "
            "rendered_map_index = coalesce(%(name)s, ti.rendered_map_index), unixname = coalesce(%(unixname)s, ti.unixname) "
            "FROM runs_try t WHERE t.id = %(id)s AND t.state = 'running' AND ti.id = t.ti_id AND ti.try_id = t.id",
            {
                "id": ids[0], "pid": u.get("pid"), "name": (u.get("rendered_map_index") or "")[:250] or None, "unixname": u.get("unixname"),
                "rendered": orjson.dumps(rendered).decode().replace("\\u0000", "") if rendered is not None else None,
            },
        )  # fmt: skip


# --- down ---------------------------------------------------------------------------------------------------------------
def _claim(worker: UUID, epoch: int, request: ExchangeRequest, now: datetime) -> list[dict[str, Any]]:
    if request.free <= 0 or epoch != request.epoch:
        return []
    if not sql.rows(
        "SELECT 1 FROM runs_try WHERE state = 'queued' AND executor = 'local' AND queue = ANY(%s::text[]) LIMIT 1", [request.queues]
    ):
        return []
    locked = sql.rows("SELECT epoch, slots FROM runs_process WHERE id = %s FOR NO KEY UPDATE", [worker])
    if not locked or locked[0][0] != request.epoch:
        return []  # a newer connection of this worker took over: nobody reads this answer
    held = sql.rows("SELECT count(*) FROM runs_try WHERE worker_id = %s AND (state = 'running' OR NOT kill_confirmed)", [worker])[0][0]
    limit = min(request.free, locked[0][1] - held)
    return orders.claim(worker=worker, epoch=epoch, hostname=request.hostname, queues=request.queues, limit=limit, now=now)


_KILLS = """
SELECT id, coalesce(error, 'ended by the server') FROM runs_try WHERE worker_id = %(worker)s AND NOT kill_confirmed
UNION ALL
SELECT h.id, 'unknown to the server' FROM unnest(%(running)s::uuid[]) AS h(id)
WHERE NOT EXISTS (SELECT 1 FROM runs_try t WHERE t.id = h.id AND t.worker_id = %(worker)s AND (t.state = 'running' OR NOT t.kill_confirmed))
"""


def _kills(worker: UUID, request: ExchangeRequest) -> list[dict[str, str]]:
    """Tries this worker must kill: fenced ones, and ones that are not (or no longer) its own."""
    finished = {r.get("try_id") for r in request.finished}
    found = sql.rows(_KILLS, {"worker": worker, "running": _uuids(request.running)})
    return [{"try_id": str(i), "reason": why} for i, why in found if str(i) not in finished]


def _uuids(texts: list[str]) -> list[UUID]:
    """Those of the texts that are UUIDs."""
    out = []
    for text in texts:
        try:
            out.append(UUID(text))
        except (ValueError, TypeError, AttributeError):
            continue
    return out


def wake_after(done: brain.Advanced, settled: reports.Settled, *, started: int) -> None:
    """Tell others what a report changed, after commit."""
    channels = []
    if settled.run_pks or started:
        channels.append(wake.LIVE)
    if done.admitted > started or done.must_kill:
        channels.append(wake.WORK)
    if done.ended or done.wake_at is not None:
        # the next run may begin; a retry or timeout may now be the next due moment
        channels.append(wake.SCHEDULER)
    if channels:
        wake.send(*channels)
