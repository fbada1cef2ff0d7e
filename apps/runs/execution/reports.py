"""A try ended: finish reports become transitions. Idempotent; many reports, one transaction.

Order: lock the runs, read the tries, judge each report (fenced, repeated, real), apply set-based, then the caller calls
`brain.advance` for the runs that changed.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings

from apps.runs import claims, compiled, reaper, sql, transitions
from apps.runs.assets import events
from apps.runs.errands import callbacks
from apps.runs.execution import checking, tokens
from apps.runs.execution.refusal import Refused
from apps.runs.questions import rows as question_rows
from apps.runs.snapshots import DECISION_KEY
from apps.runs.stores import store
from apps.runs.transitions import End
from apps.runs.triggerer import rows as trigger_rows
from trackside.core import retries
from trackside.core.messages import FinishReport, XComRecord
from trackside.core.reasons import Reason
from trackside.core.states import TaskState
from trackside.runner.jsonio import exact_dumps

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """A try as the database knows it, under the run's lock."""

    try_id: UUID
    token_hash: str | None
    try_state: str
    final_state: str | None
    kill_confirmed: bool
    pk: int
    ti_state: str
    current: bool
    run_pk: int
    dag_id: str
    task_id: str
    map_index: int
    try_number: int
    max_tries: int
    infra_failures: int
    logical_date: datetime | None
    version_id: UUID | None
    spec_hash: str | None
    worker: str | None


_HELD = """
SELECT t.id, t.token_hash, t.state, t.final_state, t.kill_confirmed, ti.id, ti.state, ti.try_id = t.id, ti.run_id, ti.dag_id, ti.task_id, ti.map_index,
       ti.try_number, ti.max_tries, ti.infra_failures, r.logical_date, v.id, v.spec_hash, w.name
FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id JOIN runs_run r ON r.id = ti.run_id JOIN dags_dag d ON d.dag_id = ti.dag_id
LEFT JOIN dags_dagversion v ON v.id = coalesce(r.dag_version_id, d.current_version_id) LEFT JOIN runs_process w ON w.id = t.worker_id
WHERE t.id = ANY(%s::uuid[])
"""


@dataclass(slots=True)
class Settled:
    """What became of a batch of reports."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    run_pks: set[int] = field(default_factory=set)
    """Runs whose tasks changed: plan them."""
    killed: bool = False
    """A fenced try is gone: its instance may start again."""


def read(data: Any) -> FinishReport | None:
    """A finish report from its JSON. One that is malformed but names its try is the failed end of that try: the worker
    repeats what is not accepted, and would hold up its other reports for ever. None: it does not even name a try."""
    try:
        return checking.message(FinishReport, data)
    except Refused as e:
        logger.warning("a finish report is malformed: %s", e)
        try_id, token = (data.get("try_id"), data.get("token")) if isinstance(data, dict) else (None, None)
        if not isinstance(try_id, str) or not isinstance(token, str):
            return None
        return FinishReport(try_id, token, "failed_no_retry", error=f"The report of its end could not be read: {e}")


def settle(reports: Sequence[FinishReport], now: datetime) -> Settled:
    """Apply finish reports in the caller's transaction."""
    settled = Settled()
    by_id: dict[UUID, FinishReport] = {}
    for report in reports:
        try:
            by_id[UUID(report.try_id)] = report
        except ValueError:
            settled.answers.append({"try_id": report.try_id, "status": 404, "detail": "Not a try id."})
    ids = list(by_id)
    claims.lock_runs_of(ids)
    held = {h.try_id: h for h in (_Held(*row) for row in sql.rows(_HELD, [ids]))}
    real: list[tuple[_Held, FinishReport]] = []
    for try_id, report in by_id.items():
        answer = _judge(held.get(try_id), report, settled, now)
        settled.answers.append({"try_id": report.try_id, **answer})
        if answer["status"] == 200 and held[try_id].try_state == "running":
            real.append((held[try_id], report))
    _apply(real, now)
    settled.run_pks |= {h.run_pk for h, _ in real}
    return settled


def end_unreported(ends: Mapping[UUID, FinishReport], now: datetime) -> Settled:
    """End tries whose executor saw their end, or that they will never begin; they can say nothing themselves any more.
    In the caller's transaction; those that ended by themselves meanwhile are not in the answers."""
    settled = Settled()
    claims.lock_runs_of(ends)
    pks = [row[0] for row in sql.rows("SELECT ti_id FROM runs_try WHERE id = ANY(%s::uuid[])", [list(ends)])]
    claims.lock_instances(pks)  # queued ones among them could be started meanwhile
    held = [_Held(*row) for row in sql.rows(_HELD, [list(ends)])]
    real = [(h, ends[h.try_id]) for h in held if h.current and h.try_state in ("queued", "running") and h.ti_state == h.try_state]
    _apply(real, now)
    settled.run_pks = {h.run_pk for h, _ in real}
    settled.answers = [{"try_id": str(h.try_id), "status": 200} for h, _ in real]
    return settled


def _judge(h: _Held | None, report: FinishReport, settled: Settled, now: datetime) -> dict[str, Any]:
    if h is None:
        return {"status": 410, "detail": "This try does not exist any more."}
    if h.try_state == "running" and h.current:
        if not tokens.matches(report.token.rpartition(".")[2], h.token_hash):
            return {"status": 410, "detail": "This try was handed to somebody else."}
        if (error := _malformed(report)) is not None:
            # never lose the end of a try: a report that cannot be stored is a failure that says so
            report.outcome, report.error, report.xcoms, report.rendered_fields = "failed_no_retry", error, [], None
        return {"status": 200}
    if not h.kill_confirmed:
        reaper.confirm_kills([h.try_id])
        settled.killed = True
        if h.ti_state == TaskState.RESTARTING and h.current:
            transitions.clear({h.pk: 0}, now)
            settled.run_pks.add(h.run_pk)
    if h.try_state in ("success", "failed", "skipped", "parked"):
        return {"status": 200, "detail": "Known already."}
    return {"status": 410, "detail": "This try was ended by the server."}


def _malformed(report: FinishReport) -> str | None:
    """Why a report cannot be stored as it is, or None."""
    try:
        for record in report.xcoms:
            key = checking.message(XComRecord, record).key
            if not 0 < len(key) <= 512:
                return f"XCom key {key!r:.100} must be a text of 1 to 512 characters."
            size = max(len(exact_dumps(record.get(part))) for part in ("value", "shown"))
            if size > settings.MAX_XCOM_BYTES:
                return (
                    f"XCom {key!r} has {size:,} bytes; the limit is {settings.MAX_XCOM_BYTES:,}. Store it elsewhere and return its address."
                )
        as_json(report.rendered_fields), as_json((report.deferral or {}).get("next_kwargs"))
        if report.outcome == "rescheduled":
            if not report.reschedule_at:
                return "The task asked to be rescheduled but named no time."
            checking.moment(report.reschedule_at, "reschedule_at")
        checking.field(report.deferral or {}, "next_method", str)
        timedelta(seconds=float((report.deferral or {}).get("timeout_s") or 0) + (report.retry_delay_s or 0))
        if report.skip is not None and not all(isinstance(i, str) for i in checking.field(report.skip, "ids", list) or ()):
            return "The decision of a branch must name tasks."
        if report.asset_events:
            events.read(report.asset_events)
    except (Refused, TypeError, ValueError, OverflowError) as e:
        return f"The report of its end could not be stored: {e}"
    return None


def _apply(real: Sequence[tuple[_Held, FinishReport]], now: datetime) -> None:
    groups: dict[str, list[End]] = defaultdict(list)
    dags = compiled.get_many({(h.version_id, h.spec_hash) for h, r in real if h.version_id and h.spec_hash and r.outcome != "killed"})
    lost = []
    for h, report in real:
        if report.outcome in ("lost", "killed"):
            lost.append((h.try_id, h.pk, h.ti_state, h.infra_failures, _loss(h, report)))
        else:
            verb, end = _end(h, report, dags.get(h.version_id), now)  # type: ignore[arg-type]
            groups[verb].append(end)
    if lost:
        reaper.settle_lost(lost, now)
    _store_xcoms(real, now)
    succeeded = transitions.succeed(groups["succeed"], now)
    _register_assets(real, succeeded, now)
    store.succeeded([(c.run_pk, c.task_id, c.map_index) for c in succeeded])
    transitions.skip_self(groups["skip_self"], now)
    silent = {h.pk for h, report in real if not report.own_callbacks}
    for state, changed in (TaskState.FAILED, transitions.fail(groups["fail"], now)), (TaskState.UP_FOR_RETRY, transitions.retry(groups["retry"], now)):
        if any(c.pk in silent for c in changed):
            callbacks.tries_ended([e for e in groups["fail"] + groups["retry"] if e.pk in silent], state, changed)
    transitions.reschedule(groups["reschedule"], now)
    trigger_rows.store(transitions.defer(groups["defer"], now), {h.pk: r.deferral or {} for h, r in real if r.outcome == "deferred"}, now)
    asked = {h.pk: r.deferral or {} for h, r in real if r.outcome == "awaiting_input"}
    question_rows.store(transitions.await_input(groups["await_input"], now), asked, now)
    for h, report in real:
        if report.skip and report.outcome == "success":
            _skip_decided(h, report.skip, dags.get(h.version_id), now)  # type: ignore[arg-type]


def _loss(h: _Held, report: FinishReport) -> str:
    """What happened, for a sentence: a runner in a pod knows more than that its process is gone."""
    if not report.token:  # its executor saw it
        return (report.error or "It was lost").strip().rstrip(".")
    if h.worker is None and report.error:
        return f"Its runner ended it ({report.error.strip().rstrip('.')[:500]})"
    return f"{reaper.who(h.worker)} lost its process"


def _register_assets(real: Sequence[tuple[_Held, FinishReport]], succeeded: Sequence[transitions.Changed], now: datetime) -> None:
    """Asset events of the tasks that succeeded; nothing at all without any."""
    said = [(h, r) for h, r in real if r.asset_events and r.outcome == "success"]
    if not said:
        return
    done = {c.pk for c in succeeded}
    events.register(
        [(events.Source(h.run_pk, h.dag_id, h.task_id, h.map_index), events.read(r.asset_events)) for h, r in said if h.pk in done], now
    )


def _end(h: _Held, report: FinishReport, dag: compiled.CompiledDag | None, now: datetime) -> tuple[str, End]:
    end = End(
        h.pk, h.try_id, duration=report.duration_s, exit_code=report.exit_code, signal=report.signal, error=_clip(report.error),
        rendered_fields=as_json(report.rendered_fields), rendered_map_index=label(report.rendered_map_index),
        log_size=report.log_size or 0,
        pid=report.pid,
    )  # fmt: skip
    match report.outcome:
        case "success":
            return "succeed", end
        case "skipped":
            return "skip_self", end
        case "rescheduled":
            end.next_at = checking.moment(report.reschedule_at, "reschedule_at")
            return "reschedule", end
        case "deferred" | "awaiting_input":
            deferral = report.deferral or {}
            end.next_method, end.next_kwargs = deferral.get("next_method"), as_json(deferral.get("next_kwargs") or {})
            if deferral.get("timeout_s") is not None:
                end.next_at = now + timedelta(seconds=float(deferral["timeout_s"]))
            return "defer" if report.outcome == "deferred" else "await_input", end
    end.error = end.error or "The task failed without saying why."
    if report.retry_reason:
        end.retry_reason = report.retry_reason.replace("\x00", "")[:500]
        end.error = f"{end.error} Retry policy: {end.retry_reason}"
    task = dag.graph.tasks.get(h.task_id) if dag else None
    if report.outcome == "failed_no_retry" or task is None or not retries.may_retry(h.try_number, h.max_tries):
        return "fail", end
    if report.retry_delay_s is not None:
        end.next_at = now + timedelta(seconds=report.retry_delay_s)
    else:
        end.next_at = retries.next_try_at(task, dag_id=h.dag_id, logical_date=h.logical_date, try_number=h.try_number, ended=now)
    return "retry", end


def _clip(text: str | None) -> str | None:
    return text.replace("\x00", "")[:4000] if text else text


def label(text: Any) -> str | None:
    """A short text as its column can hold it, None if there is none."""
    return text.replace("\x00", "")[:250] or None if isinstance(text, str) else None


def as_json(value: Any) -> str | None:
    """JSON text for a jsonb column, which cannot hold U+0000; raises TypeError for what is nested too deeply."""
    return exact_dumps(value).decode().replace("\\u0000", "") if value is not None else None


_STORE_XCOMS = """
INSERT INTO runs_xcom (run_id, dag_id, task_id, map_index, key, value, length, shown, timestamp)
SELECT e.run_id, e.dag_id, e.task_id, e.map_index, e.key, e.value, e.length, e.shown, %(now)s
FROM unnest(%(runs)s::bigint[], %(dags)s::text[], %(tasks)s::text[], %(indexes)s::int[], %(keys)s::text[], %(values)s::text[], %(lengths)s::int[],
    %(showns)s::text[]) AS e(run_id, dag_id, task_id, map_index, key, value, length, shown)
ON CONFLICT (run_id, task_id, map_index, key)
DO UPDATE SET value = excluded.value, length = excluded.length, shown = excluded.shown, timestamp = excluded.timestamp
"""


def _store_xcoms(real: Sequence[tuple[_Held, FinishReport]], now: datetime) -> None:
    entries = {}
    for h, report in real:
        for record in report.xcoms:
            entries[h.run_pk, h.task_id, h.map_index, record["key"]] = (
                h.dag_id,
                exact_dumps(record.get("value")).decode(),
                record.get("length"),
                shown_text(record.get("shown")),
            )
        if report.skip and report.outcome == "success":
            mode = report.skip.get("mode", "followed")
            entries[h.run_pk, h.task_id, h.map_index, DECISION_KEY] = (
                h.dag_id,
                orjson.dumps({mode: report.skip.get("ids", [])}).decode(),
                None,
                None,
            )
    store_xcoms([(run_pk, d, task, index, key, *rest) for (run_pk, task, index, key), (d, *rest) in entries.items()], now)


def shown_text(shown: Any) -> str | None:
    """The form for people of a value that holds secrets, as it is stored."""
    return exact_dumps(shown).decode() if shown is not None else None


def store_xcoms(entries: Sequence[tuple[int, str, str, int, str, str, int | None, str | None]], now: datetime) -> None:
    """Upsert XComs: (run pk, dag id, task id, map index, key, JSON text, length, JSON text for people if it differs)."""
    if not entries:
        return
    runs, dags, tasks, indexes, keys, values, lengths, showns = map(list, zip(*entries, strict=True))
    sql.run(_STORE_XCOMS, {
        "runs": runs, "dags": dags, "tasks": tasks, "indexes": indexes, "keys": keys,
        "values": values, "lengths": lengths, "showns": showns, "now": now,
    })  # fmt: skip


def _skip_decided(h: _Held, decision: dict[str, Any], dag: compiled.CompiledDag | None, now: datetime) -> None:
    """A short circuit skips what it names at once, whatever the trigger rules there say (branches: the planner decides)."""
    if dag is None or decision.get("mode") != "skipped":
        return
    ids = [t for t in decision.get("ids", []) if t in dag.graph.tasks and not dag.graph.tasks[t].is_teardown]
    same_group = [t for t in ids if dag.group_of.get(t) is not None and dag.group_of[t] == dag.group_of.get(h.task_id)]
    pks = [r[0] for r in sql.rows(
        "SELECT id FROM runs_taskinstance WHERE run_id = %s AND task_id = ANY(%s::text[]) AND state IN ('none', 'scheduled', 'queued') "
        "AND (NOT task_id = ANY(%s::text[]) OR map_index IN (%s, -1))", [h.run_pk, ids, same_group, h.map_index])]  # fmt: skip
    changed = transitions.skip(pks, now)
    transitions.explain({c.pk: Reason("branch", f"{h.task_id} ended this way early.") for c in changed}, now)
