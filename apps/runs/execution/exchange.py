"""One call of a worker: reports up, orders and kills down; one transaction whatever the batch size.

The server never hands a worker more than its slots minus what it holds; the row of the worker (`runs_process`) is locked
first, so that its parked call and its reporting call neither fill the same slot twice nor wait for each other in a circle
(order of locks: `claims`). Epochs make a lost answer harmless: see ExchangeRequest.epoch.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import transaction

from apps.runs import brain, claims, reaper, sql, transitions, wake
from apps.runs.execution import checking, orders, reports
from apps.runs.execution.refusal import Refused
from trackside.core.messages import ExchangeRequest, ExchangeResponse, TryUpdate
from trackside.core.states import TryState

logger = logging.getLogger(__name__)

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
    store_updates(request.updates)
    with transaction.atomic():
        now = sql.now()
        _renew(worker, request, now)
        known = claims.lock_worker(worker) if request.free > 0 else None
        settled, done = _settle(request, now)
        start = _claim(worker, known, request, now)
        kill = _kills(worker, request)
    wake_after(done, settled, started=len(start))
    unwanted = _unwanted(worker, request, start)
    response = ExchangeResponse(start=start, kill=kill, settled=settled.answers, unwanted=unwanted, lease_s=settings.LEASE)
    return Outcome(response, more_work=done.admitted > len(start), empty=not (start or kill or settled.answers or unwanted))


def look_again(request: ExchangeRequest) -> Outcome:
    """A parked call was woken: only work and kills can be new."""
    worker = UUID(request.worker_id)
    with transaction.atomic():
        now = sql.now()
        known = claims.lock_worker(worker) if request.free > 0 and _anything_queued(request) else None
        start = _claim(worker, known, request, now)
        # what it says to be running was true when the call was parked
        kill = _kills(worker, replace(request, running=[]))
    if start:
        wake.send(wake.LIVE)
    unwanted = _unwanted(worker, request, start)
    return Outcome(ExchangeResponse(start=start, kill=kill, unwanted=unwanted, lease_s=settings.LEASE), empty=not (start or kill or unwanted))


# --- the worker itself --------------------------------------------------------------------------------------------------
_RENEW = """
INSERT INTO runs_process (id, kind, name, hostname, pid, version, started_at, heartbeat_at, lease_until, epoch, slots, queues, info)
VALUES (%(id)s, 'worker', %(name)s, %(hostname)s, %(pid)s, %(version)s, %(now)s, %(now)s, %(until)s, %(epoch)s, %(slots)s, %(queues)s::jsonb, jsonb_build_object('executor', %(executor)s::text))
ON CONFLICT (id) DO UPDATE SET heartbeat_at = %(now)s, lease_until = %(until)s, slots = %(slots)s, queues = excluded.queues, ended_at = NULL,
    epoch = greatest(runs_process.epoch, excluded.epoch)
RETURNING epoch
"""


def _renew(worker: UUID, request: ExchangeRequest, now: datetime) -> None:
    """Renew the lease at most once a second; on a new epoch, take back orders that never arrived."""
    at, epoch = _beaten.get(worker, (0.0, -1))
    if epoch == request.epoch and time.monotonic() - at < BEAT_EVERY:
        return
    known = sql.rows(_RENEW, {
        "id": worker, "name": request.name or request.hostname, "hostname": request.hostname, "pid": request.pid, "version": request.version,
        "now": now, "until": now + timedelta(seconds=settings.LEASE), "epoch": request.epoch, "slots": request.slots,
        "queues": orjson.dumps(request.queues).decode(), "executor": request.executor,
    })[0][0]  # fmt: skip
    if known == request.epoch:
        _take_back(worker, request, now)
        if len(_beaten) > 10_000:
            _beaten.clear()
        _beaten[worker] = (time.monotonic(), known)


_OLD_ORDERS = """
SELECT ti.run_id, ti.id, t.id, t.state, ti.state = 'restarting' AND ti.try_id = t.id,
       t.worker_id = %(worker)s AND t.worker_epoch < %(epoch)s AND NOT t.id = ANY(%(held)s::uuid[])
FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id
WHERE (t.worker_id = %(worker)s AND (t.state = 'running' OR NOT t.kill_confirmed)) OR t.id = ANY(%(finished)s::uuid[])
"""


def _take_back(worker: UUID, request: ExchangeRequest, now: datetime) -> None:
    """Orders of older epochs that the worker does not hold were lost on the way and can no longer start."""
    finished = _uuids([r.get("try_id", "") for r in request.finished if isinstance(r, dict)])
    parameters = {"worker": worker, "epoch": request.epoch, "held": [*_uuids(request.running), *finished], "finished": finished}
    found = sql.rows(_OLD_ORDERS, parameters)
    if not any(is_old for *_, is_old in found):
        return
    # together with the runs that the reports of this call will lock: two rounds of waiting could close a circle
    claims.lock_runs(run_pk for run_pk, *_ in found)
    found = [row for row in sql.rows(_OLD_ORDERS, parameters) if row[-1]]
    transitions.requeue([try_id for _, _, try_id, state, _, _ in found if state == TryState.RUNNING], now)
    # fenced ones among them never ran: there is nothing to kill
    reaper.confirm_kills([try_id for _, _, try_id, state, _, _ in found if state != TryState.RUNNING])
    cleared = [pk for _, pk, _, _, restarting, _ in found if restarting]
    transitions.clear(dict.fromkeys(cleared, 0), now)
    brain.touch([run_pk for run_pk, _, _, _, restarting, _ in found if restarting], now)
    wake.send_on_commit(wake.WORK, wake.SCHEDULER)


# --- up -----------------------------------------------------------------------------------------------------------------
def _settle(request: ExchangeRequest, now: datetime) -> tuple[reports.Settled, brain.Advanced]:
    if not request.finished:
        return reports.Settled(), brain.Advanced()
    settled = reports.settle([report for r in request.finished if (report := reports.read(r)) is not None], now)
    return settled, advance_now(settled.run_pks, now)


_LARGE = """
SELECT run_id, count(*) > %(large)s FROM runs_taskinstance WHERE run_id = ANY(%(runs)s::bigint[])
GROUP BY run_id HAVING count(*) > %(large)s OR (count(*) > %(wide)s AND count(*) FILTER (WHERE state IN ('scheduled', 'queued')) >= %(waiting)s)
"""


def advance_now(run_pks: set[int], now: datetime) -> brain.Advanced:
    """Plan runs in this very request. Large ones are left to the scheduler, and so are wide ones as long as they have more to
    run than there are slots: nothing waits for their plan, which costs what the run is wide, with every single report."""
    if not run_pks:
        return brain.Advanced()
    limits = {"large": brain.LARGE_RUN, "wide": brain.WIDE_RUN, "waiting": brain.WAITING}
    later = dict(sql.rows(_LARGE, {"runs": list(run_pks), **limits}))
    for is_large in set(later.values()):
        pks = [pk for pk, large in later.items() if large is is_large]
        if brain.touch(pks, now if is_large else now + brain.WIDE_PAUSE):
            wake.send_on_commit(wake.SCHEDULER)
    return brain.advance(sorted(run_pks - set(later)), now)


def store_updates(updates: list[dict[str, Any]]) -> None:
    """Facts about running tries (pid, rendered fields); of fenced ones they are ignored. Outside transactions: each of them
    locks a task instance without its run, and must not hold it while it waits for anything else."""
    for u in updates:
        try:
            checking.message(TryUpdate, u)
        except Refused as e:
            logger.warning("an update of a running try is left out: %s", e)
            continue
        if not (ids := _uuids([u.get("try_id", "")])):
            continue
        rendered = u.get("rendered_fields")
        sql.run(
            "UPDATE runs_taskinstance ti SET pid = coalesce(%(pid)s, ti.pid), rendered_fields = coalesce(%(rendered)s::jsonb, ti.rendered_fields), "
            "rendered_map_index = coalesce(%(name)s, ti.rendered_map_index), unixname = coalesce(%(unixname)s, ti.unixname) "
            "FROM runs_try t WHERE t.id = %(id)s AND t.state = 'running' AND ti.id = t.ti_id AND ti.try_id = t.id",
            {
                "id": ids[0], "pid": u.get("pid"), "name": reports.label(u.get("rendered_map_index")), "unixname": reports.label(u.get("unixname")),
                "rendered": reports.as_json(rendered),
            },
        )  # fmt: skip


# --- down ---------------------------------------------------------------------------------------------------------------
_QUEUED = "SELECT 1 FROM runs_try WHERE state = 'queued' AND executor = %(executor)s AND queue = ANY(%(queues)s::text[]) LIMIT %(limit)s"
_QUEUED_WANTED = "SELECT 1 FROM runs_try WHERE state = 'queued' AND executor = %(executor)s AND id = ANY(%(wanted)s::uuid[]) LIMIT %(limit)s"
_OFFER, _OFFER_WANTED = (
    f"SELECT (SELECT count(*) FROM ({queued}) AS q), count(*) FROM runs_try WHERE worker_id = %(worker)s AND (state = 'running' OR NOT kill_confirmed)"
    for queued in (_QUEUED, _QUEUED_WANTED)
)


def _anything_queued(request: ExchangeRequest) -> bool:
    parameters = {"executor": request.executor, "limit": 1}
    if request.wanted is None:
        return bool(sql.rows(_QUEUED, parameters | {"queues": request.queues}))
    return bool(request.wanted) and bool(sql.rows(_QUEUED_WANTED, parameters | {"wanted": _uuids(request.wanted)}))


def _claim(worker: UUID, known: tuple[int, int] | None, request: ExchangeRequest, now: datetime) -> list[dict[str, Any]]:
    """`known`: epoch and slots of the worker, whose row is locked; None: it takes nothing."""
    if known is None or known[0] != request.epoch:
        return []  # a newer connection of this worker took over: nobody reads this answer
    parameters: dict[str, Any] = {"executor": request.executor, "limit": request.free, "worker": worker}
    wanted = None
    if request.wanted is None:
        queued, held = sql.rows(_OFFER, parameters | {"queues": request.queues})[0]
    elif wanted := _uuids(request.wanted):
        queued, held = sql.rows(_OFFER_WANTED, parameters | {"wanted": wanted})[0]
    else:
        return []
    return orders.claim(
        worker=worker, epoch=request.epoch, hostname=request.hostname, queues=request.queues, limit=min(request.free, known[1] - held, queued), now=now,
        executor=request.executor, wanted=wanted,
    )  # fmt: skip


_UNWANTED = """
SELECT w.id FROM unnest(%(wanted)s::uuid[]) AS w(id) WHERE NOT EXISTS (
    SELECT 1 FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id
    WHERE t.id = w.id AND ((t.state = 'queued' AND ti.try_id = t.id AND t.executor = %(executor)s) OR (t.state = 'running' AND t.worker_id = %(worker)s)))
"""


def _unwanted(worker: UUID, request: ExchangeRequest, start: list[dict[str, Any]]) -> list[str]:
    """What a broker named and nobody needs to start: ended, cleared, or in the hands of another worker. Read after the commit:
    what another worker has just taken is seen now, or by the next exchange. What finds no free slot yet is not asked about."""
    if len(start) >= request.free:
        return []
    asked = {text for text in request.wanted or () if isinstance(text, str)} - {order["try_id"] for order in start}
    if not asked:
        return []
    known = _uuids(list(asked))
    gone = sql.rows(_UNWANTED, {"wanted": known, "worker": worker, "executor": request.executor})
    return [str(r[0]) for r in gone] + [text for text in asked if not _uuids([text])]


_KILLS = """
SELECT id, coalesce(error, 'ended by the server') FROM runs_try WHERE worker_id = %(worker)s AND NOT kill_confirmed
UNION ALL
SELECT h.id, 'unknown to the server' FROM unnest(%(running)s::uuid[]) AS h(id)
WHERE NOT EXISTS (SELECT 1 FROM runs_try t WHERE t.id = h.id AND t.worker_id = %(worker)s AND (t.state = 'running' OR NOT t.kill_confirmed))
"""


def _kills(worker: UUID, request: ExchangeRequest) -> list[dict[str, str]]:
    """Tries this worker must kill: fenced ones, and ones that are not (or no longer) its own."""
    finished = {r.get("try_id") for r in request.finished if isinstance(r, dict)}
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
    if done.admitted > started or done.must_kill or settled.killed:
        channels.append(wake.WORK)
    if done.ended or done.wake_at is not None:
        # the next run may begin; a retry or timeout may now be the next due moment
        channels.append(wake.SCHEDULER)
    if channels:
        wake.send(*channels)
