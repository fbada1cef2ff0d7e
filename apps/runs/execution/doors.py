"""The other door: start, heartbeat, update, finish and logs of single tries, and what workers send beside exchanges."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.runs import logs, processes, reaper, sql, wake
from apps.runs.execution import checking, exchange, orders, reports, tokens
from apps.runs.execution.refusal import Refused
from trackside.core.messages import FinishReport


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as e:
        raise Refused(404, "Not a try id.") from e


def _own(try_id: str, token: str, *, running: bool = True) -> UUID:
    """The try, if `token` is its token (and, unless it is about the end of it, it still runs)."""
    parts = tokens.split(token)
    identity = _uuid(try_id)
    if parts is None or parts[0] != identity:
        raise Refused(401, "This token belongs to another try.")
    rows = sql.rows(
        "SELECT t.state, t.token_hash, ti.try_id = t.id FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id WHERE t.id = %s",
        [identity],
    )
    if not rows:
        raise Refused(410, "This try does not exist any more.")
    state, kept, current = rows[0]
    if running and (state != "running" or not current):
        raise Refused(410, "This try was ended by the server: kill it and stop.")
    if not tokens.matches(parts[1], kept):
        raise Refused(410, "This try was handed to somebody else: kill it and stop.")
    return identity


def start(*, token: str, body: dict[str, Any], query: dict[str, str], try_id: str) -> dict[str, Any]:
    """Claim one try for a runner of its own. The token is spent by the claim; asking again gives 409, unless with the same `secret`,
    which the runner makes up for its token: then it is the same runner, whose answer got lost, and it has begun nothing."""
    identity = _uuid(try_id)
    secret = checking.field(body, "secret", str, default=None) or None
    if secret is not None and not 32 <= len(secret) <= 200:
        raise Refused(422, "secret must have 32 to 200 characters.")
    if not tokens.is_start_token(token, identity):
        raise Refused(401, "This start token is not for this try.")
    with transaction.atomic():
        found = sql.rows("SELECT state, executor, queue FROM runs_try WHERE id = %s", [identity])
        if not found:
            raise Refused(410, "This try does not exist any more.")
        order = orders.claim_one(identity, hostname=str(body.get("hostname", ""))[:1000], now=sql.now(), secret=secret)
        if order is None and secret is not None:
            order = orders.claimed_before(identity, secret)
        if order is None and orders.may_be_claimed(identity):
            raise Refused(503, "Somebody else is just working on this try; repeat the call.")
        if order is None:
            raise Refused(409 if found[0][0] in ("queued", "running") else 410, f"This try is {found[0][0]}; it is not started again.")
    wake.send(wake.LIVE)
    return order


def heartbeat(*, token: str, body: dict[str, Any], query: dict[str, str], try_id: str) -> dict[str, Any]:
    """The runner is alive."""
    identity = _own(try_id, token)
    sql.run("UPDATE runs_try SET heartbeat_at = clock_timestamp() WHERE id = %s AND state = 'running'", [identity])
    return {"lease_s": settings.LEASE}


def update(*, token: str, body: dict[str, Any], query: dict[str, str], try_id: str) -> dict[str, Any]:
    """Facts about a running try."""
    _own(try_id, token)
    with transaction.atomic():
        exchange.store_updates([{**body, "try_id": try_id}])
    return {}


def finish(*, token: str, body: dict[str, Any], query: dict[str, str], try_id: str) -> dict[str, Any]:
    """The try ended."""
    answer, wake_others = end(token=token, body=body, try_id=try_id)
    wake_others(0)
    if answer["status"] != 200:
        raise Refused(answer["status"], answer.get("detail", ""))
    return answer


def end(*, token: str, body: dict[str, Any], try_id: str) -> tuple[dict[str, Any], Callable[[int], None]]:
    """Settle the report of a single try: the answer, and how to wake those whom it concerns, once it is known how many of the tries
    that were admitted by it are started already."""
    identity = _own(try_id, token, running=False)
    report = reports.read({**body, "try_id": str(identity), "token": token})
    assert report is not None  # it names its try
    if report.outcome == "lost" and _executor_will_judge(identity, report):
        return {"try_id": str(identity), "status": 200}, lambda _started: None
    with transaction.atomic():
        now = sql.now()
        settled = reports.settle([report], now)
        _note_used(identity, report)
        done = exchange.advance_now(settled.run_pks, now)
    return settled.answers[0], lambda started: exchange.wake_after(done, settled, started=started)


_USED = "UPDATE runs_try SET facts = coalesce(facts, '{}'::jsonb) || jsonb_build_object('used', %s::jsonb) WHERE id = %s"


def _note_used(identity: UUID, report: FinishReport) -> None:
    """What its place used, for the task page."""
    used = {k: v for k, v in (report.used or {}).items() if k in ("memory_bytes", "cpu_seconds") and isinstance(v, int | float)}
    if used:
        sql.run(_USED, [json.dumps(used), identity])


_FILES = """
SELECT a.hash, a.content FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id JOIN runs_run r ON r.id = ti.run_id
JOIN dags_dag d ON d.dag_id = ti.dag_id JOIN dags_dagversion v ON v.id = coalesce(r.dag_version_id, d.current_version_id)
JOIN dags_filesarchive a ON a.hash = v.files_hash WHERE t.id = %s
"""


_SAID = """
UPDATE runs_try t SET facts = coalesce(t.facts, '{}'::jsonb) || jsonb_build_object('runner_said', %(said)s::text), log_size = greatest(t.log_size, %(size)s)
FROM runs_taskinstance ti WHERE t.id = %(id)s AND t.state = 'running' AND t.worker_id IS NULL AND ti.id = t.ti_id AND ti.try_id = t.id
"""


def _executor_will_judge(identity: UUID, report: FinishReport) -> bool:
    """A runner of a try of its own was told to stop, or could not begin. Why, its executor sees in a moment (evicted, deleted,
    over its deadline), and ends the try with that; if nobody looks, its lease ends."""
    said = (report.error or "it was stopped").replace("\x00", "")[:500]
    return sql.run(_SAID, {"id": identity, "said": said, "size": report.log_size or 0}) == 1


def files(*, token: str, body: dict[str, Any], query: dict[str, str], try_id: str) -> dict[str, Any]:
    """The files of the DAG version this try runs, as an archive."""
    rows = sql.rows(_FILES, [_own(try_id, token)])
    if not rows:
        raise Refused(404, "The DAG's files are not in the store (yet): the DAG processor puts them there after it has parsed the file.")
    return {"hash": rows[0][0], "content": base64.b64encode(rows[0][1]).decode()}


def try_logs(*, token: str, body: dict[str, Any], query: dict[str, str], try_id: str) -> dict[str, Any]:
    """A log chunk of a runner's own try; the last ones may come after its end, but not after it was fenced or lost."""
    identity = _own(try_id, token, running=False)
    if sql.rows("SELECT 1 FROM runs_try WHERE id = %s AND state IN ('fenced', 'lost')", [identity]):
        raise Refused(410, "This try was ended by the server: kill it and stop.")
    return _store(identity, body)


def worker_logs(*, token: str, body: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
    """Log chunks of many tries of one worker."""
    if not tokens.is_worker(token):
        raise Refused(401, "The worker token is wrong.")
    chunks = [c for c in checking.field(body, "chunks", list, default=[]) or () if isinstance(c, dict)]
    ids = {c.get("try_id"): _uuid(str(c.get("try_id"))) for c in chunks}
    mine = {
        r[0]
        for r in sql.rows(
            "SELECT id FROM runs_try WHERE id = ANY(%s::uuid[]) AND worker_id = %s", [list(ids.values()), _uuid(str(body.get("worker_id")))]
        )
    }
    settled = []
    for chunk in chunks:
        identity = ids[chunk.get("try_id")]
        if identity not in mine:
            settled.append({"try_id": str(identity), "status": 410, "size": 0})
        else:
            settled.append({"try_id": str(identity), **_store(identity, chunk)})
    return {"settled": settled}


def _store(identity: UUID, chunk: dict[str, Any]) -> dict[str, Any]:
    offset, text = checking.field(chunk, "offset", int, default=0) or 0, checking.field(chunk, "text", str, default="") or ""
    if offset < 0:
        raise Refused(422, "offset must not be negative.")
    raw = text.encode("utf-8", "replace")
    size = logs.append(identity, offset, raw)
    complete = size >= offset + len(raw)
    if complete and chunk.get("end"):
        sql.run("UPDATE runs_try SET log_size = %s, log_ended = true WHERE id = %s", [size, identity])
    return {"status": 200 if complete else 409, "size": size}


def goodbye(*, token: str, body: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
    """A worker stops: what it still held is lost at once instead of after its lease."""
    if not tokens.is_worker(token):
        raise Refused(401, "The worker token is wrong.")
    processes.end(_uuid(str(body.get("worker_id"))))
    run_pks = reaper.find_lost(sql.now())
    if run_pks:
        wake.send(wake.SCHEDULER, wake.LIVE)
    return {}
