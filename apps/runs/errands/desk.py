"""The server's side of an errand: who takes it, what its child is told, what it may ask, how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.dags import ownership
from apps.runs import claims, sql, wake
from apps.runs.assets import own_mappers
from apps.runs.errands import deadlines, pinned
from apps.runs.errands.models import FAILED, QUEUED, RUNNING, SUCCESS, Errand
from apps.runs.execution import data, orders
from apps.runs.execution.refusal import Refused
from apps.runs.models import Run, TaskInstance
from apps.runs.triggerer import facts
from apps.runs.triggerer.tasklog import TaskLogs
from trackside.core.messages import RunRecord

LOGS = TaskLogs()
"""Lines for logs of tries; the runner writes them when the worker's part is complete."""
MAX_ATTEMPTS = 3
"""An errand whose process died this often is given up: it probably kills its process."""
OUTPUT_LIMIT = 64_000


@dataclass(slots=True)
class Taken:
    """An errand to run now, and what its child is told."""

    errand: Errand
    job: dict[str, Any]
    """With "wrong" it cannot be started, and why."""
    pin: pinned.Pin | None = None
    """The version its code comes from, if that is not the newest."""

    def use(self, file: str, relative: str) -> None:
        """Its DAG file is this one."""
        for said in (self.job, self.job.get("order") or {}):
            said["dag_file"], said["relative_fileloc"] = file, relative


def take(process: UUID, room: int, *, runs_in: str = "processor") -> list[Taken]:
    """Claim up to `room` errands: new ones, and those whose process died."""
    if room <= 0:
        return []
    with transaction.atomic():
        pks = claims.take_errands(process, room, runs_in)
        given_up = [pk for pk, attempts in pks if attempts > MAX_ATTEMPTS]
        going = [pk for pk, attempts in pks if attempts <= MAX_ATTEMPTS]
        found = list(Errand.objects.filter(pk__in=going).select_related("run", "ti").order_by("pk"))
    for pk in given_up:
        finish(pk, ok=False, error=f"The process that ran it died {MAX_ATTEMPTS} times, so it is not started again.")
    return [Taken(e, _job(e), pinned.pin_of(e.run, e.kind)) for e in found]


def _job(errand: Errand) -> dict[str, Any]:
    try:
        return {**errand.payload, "kind": errand.kind, **_facts(errand)}
    except LookupError as e:
        return {"wrong": str(e)}


def _facts(errand: Errand) -> dict[str, Any]:
    """What the errand needs to know of the ledger, as it is now."""
    out: dict[str, Any] = {"dag_id": errand.dag_id}
    if errand.dag_id:
        where = sql.rows("SELECT fileloc, relative_fileloc FROM dags_dag WHERE dag_id = %s", [errand.dag_id])
        if not where:
            raise LookupError(f"DAG {errand.dag_id} is gone")
        out["dag_file"], out["relative_fileloc"] = where[0]
    if errand.run is not None:
        record = run_record(errand.run)
        out["run"] = record
        if errand.kind == "listener":
            state = errand.payload.get("state") or record["state"]
            out["dag_run"] = {**record, "state": state, "task_instances": _instances(errand.run)}
    ti = errand.ti if errand.ti is not None else _last_ti(errand) if errand.kind == "dag_callback" else None
    if ti is not None:
        order = orders.build([(ti.pk, ti.try_id, 1)], ["-"])[0]
        order |= {"token": "", "next_method": None, "next_kwargs": None, **errand.payload.get("try", {})}
        if errand.run is not None:
            order["run"] = {**order["run"], "end_date": _iso(errand.run.end_date)}
        out |= {"order": order, "dag_file": order["dag_file"], "relative_fileloc": order["relative_fileloc"]}
    return out


def _last_ti(errand: Errand) -> TaskInstance | None:
    """The task instance a DAG's callback is shown: the last that failed, or the last that ended."""
    ended = TaskInstance.objects.filter(run=errand.run).order_by("-end_date", "-id")
    failed = ended.filter(state="failed").first() if errand.payload.get("state") == "failed" else None
    return failed or ended.filter(end_date__isnull=False).first() or ended.first()


def _instances(run: Run) -> list[dict[str, Any]]:
    fields = ("task_id", "map_index", "state", "try_number", "max_tries", "duration", "operator", "hostname", "pool", "queue")
    rows = TaskInstance.objects.filter(run=run).order_by("id")[:2_000].values(*fields, "start_date", "end_date")
    same = {"dag_id": run.dag_id, "run_id": run.run_id}
    return [{**r, **same, "start_date": _iso(r["start_date"]), "end_date": _iso(r["end_date"])} for r in rows]


def run_record(run: Run) -> dict[str, Any]:
    """A run for the wire."""
    return RunRecord(
        dag_id=run.dag_id, run_id=run.run_id, run_type=run.run_type, state=run.state, logical_date=_iso(run.logical_date),
        data_interval_start=_iso(run.data_interval_start), data_interval_end=_iso(run.data_interval_end), run_after=_iso(run.run_after),
        queued_at=_iso(run.queued_at), start_date=_iso(run.start_date), end_date=_iso(run.end_date), clear_number=run.clear_number,
        conf=run.conf, note=run.note, triggered_by=run.triggered_by, triggering_user_name=run.triggering_user_name,
        partition_key=run.partition_key,
    ).to_dict()  # fmt: skip


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def remark(errand: Errand, text: str) -> None:
    """A line in the log of the try it is about."""
    if errand.try_id is not None:
        LOGS.system(errand.try_id, text, "warning")


# --- while it runs ------------------------------------------------------------------------------------------------------
def answer(errand: Errand, method: str, path: str, params: dict[str, Any]) -> tuple[int, Any]:
    """What a running errand may read: what a task of its run may, without a token; writing is for tasks."""
    if method == "GET" and errand.run is not None:
        ti = errand.ti
        me = data.Caller(
            errand.try_id or UUID(int=0), ti.pk if ti else 0, errand.run.pk, errand.run.dag_id, errand.run.run_id, ti.task_id if ti else "",
            ti.map_index if ti else -1, errand.run.triggering_user_name,
        )  # fmt: skip
        doors = {"/xcoms": data.get_xcoms, "/runs/previous": data.previous_run, "/runs/count": data.count_runs,
                 "/runs/state": data.run_state,
                 "/task-instances/count": data.count_task_instances, "/task-instances/states": data.task_states,
                 "/asset-events": data.asset_events}  # fmt: skip
        if path in doors:
            try:
                query = {k: str(v) for k, v in params.items() if v is not None}
                return 200, doors[path](token=me, body=None, query=query)
            except Refused as e:
                return e.status, {"detail": e.detail}
    code = ownership.code_of(errand.run.dag_id) if errand.run is not None and errand.run.dag_id is not None else None
    status, body = facts.answer(method, path, params, code=code)
    if status == 403:
        body = {"detail": f"{method} {path} is not possible in a callback or listener: do it in a task."}
    return status, body


# --- the end ------------------------------------------------------------------------------------------------------------
def finish(pk: int, *, ok: bool, result: Any = None, error: str | None = None, output: str = "") -> None:
    """Note how an errand ended; what it printed goes to its try's log, too. A second word about it changes nothing."""
    text = output.replace("\x00", "")[-OUTPUT_LIMIT:]
    with transaction.atomic():
        now = sql.now()
        done = Errand.objects.filter(pk=pk, status__in=(QUEUED, RUNNING)).update(
            status=SUCCESS if ok else FAILED, ended_at=now, result=result, error=error and error.replace("\x00", "")[:4000], output=text
        )
        errand = Errand.objects.filter(pk=pk).first()
        if done and errand is not None and errand.kind == "deadline" and errand.run_id is not None:
            deadlines.referenced(errand, ok, result, now)
        if done and errand is not None and errand.kind == own_mappers.KIND:
            own_mappers.answered(errand, ok, result, error, now)
            wake.send_on_commit(wake.SCHEDULER)
    if done and errand is not None:
        _log(errand, ok, error, text)
        wake.send(wake.LIVE)


def _log(errand: Errand, ok: bool, error: str | None, output: str) -> None:
    """Into the log of the try it is about."""
    if errand.try_id is None:
        return
    LOGS.system(errand.try_id, f"{errand.title}: {'done' if ok else f'failed: {error}'}", "info" if ok else "error")
    for line in output.splitlines()[:500]:
        LOGS.system(errand.try_id, line)
