"""The states of one run in memory: plan, run what may run, take in how it ended, until the run is over.

For `entry`. Whatever decides is elsewhere (`core.planning`, `core.retries`, `sdk.execution`); this does with plain objects
what `apps.runs` does with tables. Tasks run one after the other, the most urgent first, in this process.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from trackside.core import mapping, retries
from trackside.core.messages import FinishReport, RunRecord, StartOrder
from trackside.core.planning import Plan, plan
from trackside.core.snapshot import CompiledDag, RunRow, Snapshot, TaskRow
from trackside.core.states import FINISHED, RunState, TaskState
from trackside.sdk import serde
from trackside.sdk.execution.callbacks import run_callbacks
from trackside.sdk.execution.context import Context, build_context
from trackside.sdk.execution.current import set_current_context
from trackside.sdk.execution.records import moment
from trackside.sdk.execution.run import render_fields, run_task
from trackside.sdk.execution.ti import RuntimeTaskInstance
from trackside.sdk.inprocess import console
from trackside.sdk.inprocess.results import TaskResult, TestedRun
from trackside.sdk.inprocess.waiting import Fired, Waits
from trackside.sdk.serialization import to_spec

if TYPE_CHECKING:
    from trackside.sdk.dag import DAG
    from trackside.sdk.inprocess.server import LocalServer

log = console.log
SMALL = 500
"""Task instances up to which every end of a task is followed by a plan; larger runs plan when all that may run has run."""
PREFETCH = 200
"""Results of upstream that travel with the order of a task; it asks for them where there are more."""
DECIDED = ("none", "up_for_retry")
"""States from which scheduling begins a new try."""


@dataclass(slots=True)
class _Task:
    """What is known of a task instance besides the planner's row."""

    row: TaskRow
    result: TaskResult
    next_method: str | None = None
    next_kwargs: dict[str, Any] | None = None
    try_started: str | None = None
    reschedules: int = 0
    timeout_at: datetime | None = None
    """When its deferral has taken too long."""


class Ledger:
    """One run."""

    def __init__(
        self,
        dag: DAG,
        record: RunRecord,
        server: LocalServer,
        *,
        mark: re.Pattern[str] | None = None,
        answers: Mapping[str, Sequence[str]] | None = None,
        patient: bool = True,
    ) -> None:
        self.dag, self.record, self.server = dag, record, server
        self.compiled = CompiledDag(to_spec(dag))
        self.tasks: dict[int, _Task] = {}
        self.counts: Counter[str] = Counter()
        self.decisions: dict[tuple[str, int], dict[str, list[str]]] = {}
        self.sources = {s for t in self.compiled.spec.tasks for s in mapping.sources(t, self.compiled)}
        self.run_row = RunRow(
            1, record.run_id, run_type=record.run_type, logical_date=moment(record.logical_date), start_date=datetime.now(UTC)
        )
        self.waits = Waits()
        self._mark, self._answers, self._patient = mark, answers or {}, patient
        server.ledgers.append(self)

    # The run ------------------------------------------------------------------------------------------------------
    def run(self) -> TestedRun:
        """To its end."""
        self._create()
        try:
            while True:
                self._take_in_triggers(0)
                before = {pk: task.row.state for pk, task in self.tasks.items()}
                decided = plan(self._snapshot(), datetime.now(UTC))
                self._apply(decided, before)
                if decided.outcome is not None:
                    return self._finish(decided)
                if not self._run_what_may() and not decided.moves:
                    self._wait(decided)
        finally:
            self.waits.close()

    def run_one(self, task_id: str, map_index: int) -> TaskResult:
        """One try of one task; what it waits for is waited for, its failure is final."""
        task = self._add(task_id, map_index)
        task.row.try_number, task.row.state = 1, TaskState.SCHEDULED
        task.row.max_tries = 0
        try:
            while task.row.state not in FINISHED:
                if task.row.state in (TaskState.SCHEDULED, TaskState.UP_FOR_RESCHEDULE):
                    self._sleep_until(task.row.next_at, f"{task_id} was rescheduled")
                    self._attempt(task)
                else:
                    self._take_in_triggers(self._seconds_to(task.timeout_at))
                    self._time_out()
        finally:
            self.waits.close()
        return task.result

    def render(self, task_id: str, map_index: int) -> dict[str, Any]:
        """The template fields of a task as its first try would have them."""
        task = self._add(task_id, map_index)
        task.row.try_number = 1
        order = self._order(task)
        self.server.serve(order)
        operator: Any = self.dag.task_dict[task_id]
        ti = RuntimeTaskInstance(order, operator if operator.is_mapped else operator.prepare_for_execution(), self.dag, self.server)
        context = ti.context = build_context(ti)
        with set_current_context(context):
            render_fields(ti, context)
        return {name: getattr(ti.task, name) for name in ti.task.template_fields}

    def _create(self) -> None:
        self.record.state = RunState.RUNNING
        for spec in self.compiled.spec.tasks:
            length = None
            if mapping.is_expanded_lazily(spec, self.compiled) and not mapping.sources(spec, self.compiled):
                length = mapping.expansion_length(spec, self.compiled, {}, {})
            for index in range(length) if length else (-1,):
                self._add(spec.task_id, index)

    def _add(self, task_id: str, map_index: int) -> _Task:
        row = TaskRow(len(self.tasks) + 1, task_id, map_index, max_tries=self.compiled.graph.tasks[task_id].retries)
        self.counts[task_id] += 1
        task = self.tasks[row.pk] = _Task(row, TaskResult(task_id, map_index, _pull=self._pull))
        return task

    def _snapshot(self) -> Snapshot:
        lengths = {
            source: {x.map_index: x.length or 0 for x in self.server.records(self.record.dag_id, self.record.run_id, source)}
            for source in self.sources
        }
        return Snapshot(
            self.compiled, self.run_row, [task.row for task in self.tasks.values()], decisions=self.decisions,
            lengths={source: found for source, found in lengths.items() if found},
        )  # fmt: skip

    def _apply(self, decided: Plan, before: dict[int, str]) -> None:
        """The planner has changed the rows' states; what goes with a change is done here."""
        for e in decided.expand:
            task = self.tasks[e.pk]
            task.row.map_index = task.result.map_index = 0
            new = [e.pk, *(self._add(e.task_id, index).row.pk for index in range(1, e.length))]
            if e.starts:
                decided.schedule += new
            else:
                task.row.state = TaskState.NONE  # the next plan looks at each of them
        for g in decided.grow:
            new = [self._add(g.task_id, index).row.pk for index in g.indexes]
            decided.schedule += new if g.starts else ()
        for pks, state in ((decided.schedule, TaskState.SCHEDULED), (decided.complete, TaskState.SUCCESS)):
            for row in (self.tasks[pk].row for pk in pks):
                row.try_number += before.get(row.pk, "none") in DECIDED
                row.state, row.next_at = state, None
        for pk in decided.stop_skipped:
            self.tasks[pk].row.state = TaskState.SKIPPED
        for pk, why in decided.reasons.items():
            task = self.tasks[pk]
            task.row.reason_code, task.row.reason = (why.code, why.text) if why else (None, None)
            if task.row.state in FINISHED and why is not None:
                task.result.error = why.text
                log.info("%s is %s: %s", _name(task.row), task.row.state, why.text)
        for pk, was in before.items():
            if was != self.tasks[pk].row.state and self.tasks[pk].row.state in FINISHED:
                self.waits.cancel(pk)

    def _finish(self, decided: Plan) -> TestedRun:
        assert decided.outcome is not None
        self.record.state, self.record.end_date = decided.outcome, datetime.now(UTC).isoformat()
        reason = decided.run_reason.text if decided.run_reason else None
        run = cast(TestedRun, TestedRun.from_wire(self.record.to_dict()))
        run.state, run.reason = str(decided.outcome), reason
        order = {task_id: number for number, task_id in enumerate(self.compiled.graph.order)}
        for task in sorted(self.tasks.values(), key=lambda t: (order[t.row.task_id], t.row.map_index)):
            task.result.state, task.result.try_number = str(task.row.state), task.row.try_number
            run.task_instances.append(task.result)
        console.speaks("")
        say = log.info if run.state == "success" else log.error
        say("%s: run %s %s%s", run.dag_id, run.run_id, run.state, f" ({reason})" if reason else "")
        kind = "on_success_callback" if run.state == "success" else "on_failure_callback"
        run_callbacks(self.dag, kind, Context(dag=self.dag, dag_run=run, run_id=run.run_id, params=self.dag.params, reason=reason))
        return run

    # Tries --------------------------------------------------------------------------------------------------------
    def _run_what_may(self) -> bool:
        """Run scheduled tasks, the most urgent first; whether there was any."""
        priority = self.compiled.graph.priority
        ready = [task for task in self.tasks.values() if task.row.state == TaskState.SCHEDULED]
        ready.sort(key=lambda task: -priority[task.row.task_id])
        one_by_one = len(self.tasks) <= SMALL or self.compiled.spec.fail_fast
        for task in ready[:1] if one_by_one else ready:
            if task.row.state == TaskState.SCHEDULED:  # a short circuit among them may have skipped it
                self._attempt(task)
        return bool(ready)

    def _attempt(self, task: _Task) -> None:
        row = task.row
        name = _name(row)
        console.speaks(name)
        own = (self.record.dag_id, self.record.run_id, row.task_id, row.map_index)
        row.state, row.reason, row.reason_code = TaskState.RUNNING, None, None
        now = datetime.now(UTC)
        if task.try_started is None:
            task.try_started = now.isoformat()
            task.result.start_date = task.result.start_date or now
            self.server.wipe(own)
        if self._mark is not None and self._mark.fullmatch(row.task_id):
            log.info("%s is marked as success, as mark_success_pattern says", name)
            self._settle(task, FinishReport("", outcome="success"))
            return
        environment = dict(os.environ)
        order = self._order(task)
        self.server.serve(order)
        told = len(self.server.updates)
        report = run_task(order, self.dag.task_dict[row.task_id], self.dag, self.server)
        for update in self.server.updates[told:]:
            task.result.rendered_fields.update(update.get("rendered_fields") or {})
        for variable in [v for v in os.environ if v.startswith("AIRFLOW_CTX_") and v not in environment]:
            del os.environ[variable]
        console.speaks("")
        if report.error and report.error.startswith("KeyboardInterrupt"):
            raise KeyboardInterrupt
        self._settle(task, report)

    def _order(self, task: _Task) -> StartOrder:
        row, graph = task.row, self.compiled.graph
        spec = graph.tasks[row.task_id]
        xcoms: list[dict[str, Any]] = []
        complete = sum(self.counts[up] for up in graph.upstream[row.task_id]) <= PREFETCH
        if complete:
            found = (self.server.records(self.record.dag_id, self.record.run_id, up) for up in graph.upstream[row.task_id])
            xcoms = [x.to_dict() for records in found for x in records]
        return StartOrder(
            secrets.token_hex(8), "", self.record.dag_id, row.task_id, self.record.to_dict(), row.map_index, row.try_number, row.max_tries,
            dag_file=self.dag.fileloc, relative_fileloc=self.dag.relative_fileloc, ti_start_date=task.try_started,
            queued_at=task.try_started, pool=spec.pool, queue=spec.queue, priority_weight=graph.priority[row.task_id],
            hostname="localhost", operator=spec.operator,
            reschedule_count=task.reschedules, next_method=task.next_method, next_kwargs=task.next_kwargs, xcoms=xcoms,
            xcoms_complete=complete, expanded_ti_count=self.counts[row.task_id] if row.map_index >= 0 else None,
        )  # fmt: skip

    def _settle(self, task: _Task, report: FinishReport) -> None:
        """A try ended or parked: what a finish report does at the server."""
        row, now = task.row, datetime.now(UTC)
        self.server.store(report.xcoms, (self.record.dag_id, self.record.run_id, row.task_id, row.map_index))
        task.result.duration += report.duration_s or 0
        task.result.rendered_fields.update(report.rendered_fields or {})
        task.result.error = None
        match report.outcome:
            case "success":
                task.result.asset_events = report.asset_events
                self._end(task, TaskState.SUCCESS)
                self._decide(row, report.skip)
            case "skipped":
                self._end(task, TaskState.SKIPPED)
            case "rescheduled":
                row.state, row.next_at = TaskState.UP_FOR_RESCHEDULE, moment(report.reschedule_at)
                task.reschedules += 1
            case "deferred" | "awaiting_input":
                self._park(task, report)
            case _:
                self._failed(task, report, now)

    def _failed(self, task: _Task, report: FinishReport, now: datetime) -> None:
        row, spec = task.row, self.compiled.graph.tasks[task.row.task_id]
        task.result.error = report.error
        if report.outcome == "failed_no_retry" or not retries.may_retry(row.try_number, row.max_tries):
            self._end(task, TaskState.FAILED)
            return
        if report.retry_delay_s is not None:
            at = now + timedelta(seconds=report.retry_delay_s)
        else:
            at = retries.next_try_at(
                spec, dag_id=self.record.dag_id, logical_date=self.run_row.logical_date, try_number=row.try_number, ended=now
            )
        self._end(task, TaskState.UP_FOR_RETRY)
        row.next_at = at if self._patient else now

    def _end(self, task: _Task, state: TaskState) -> None:
        row = task.row
        row.state, row.next_at = state, None
        task.next_method = task.next_kwargs = task.try_started = task.timeout_at = None
        task.reschedules = 0
        task.result.end_date = datetime.now(UTC)
        task.result.state, task.result.try_number = str(state), row.try_number
        why = f": {task.result.error}" if task.result.error else ""
        (log.warning if why else log.info)("%s is %s%s", _name(row), state, why)

    def _decide(self, row: TaskRow, decision: dict[str, Any] | None) -> None:
        """Keep a branch's decision for the planner; a short circuit skips at once, whatever the rules there say."""
        if not decision:
            return
        mode, ids = decision.get("mode", "followed"), list(decision.get("ids", ()))
        self.decisions[row.task_id, row.map_index] = {mode: ids}
        if mode != "skipped":
            return
        tasks, group = self.compiled.graph.tasks, self.compiled.group_of
        for other in [task.row for task in self.tasks.values()]:
            if other.task_id not in ids or other.task_id not in tasks or tasks[other.task_id].is_teardown:
                continue
            same_group = group.get(other.task_id) is not None and group[other.task_id] == group.get(row.task_id)
            if other.state in (TaskState.NONE, TaskState.SCHEDULED) and (not same_group or other.map_index in (row.map_index, -1)):
                other.state = TaskState.SKIPPED
                log.info("%s is skipped: %s ended this way early", _name(other), _name(row))

    # Waiting ------------------------------------------------------------------------------------------------------
    def _park(self, task: _Task, report: FinishReport) -> None:
        deferral = report.deferral or {}
        row = task.row
        task.next_method, task.next_kwargs = deferral.get("next_method"), deferral.get("next_kwargs") or {}
        if report.outcome == "awaiting_input":
            event = console.answer(row.task_id, serde.deserialize(deferral["kwargs"]), self._answers)
            self._resume(task, event)
            return
        row.state = TaskState.DEFERRED
        if deferral.get("timeout_s") is not None:
            task.timeout_at = datetime.now(UTC) + timedelta(seconds=float(deferral["timeout_s"]))
        log.info("%s waits for its trigger %s", _name(row), deferral["classpath"])
        ti = SimpleNamespace(
            dag_id=self.record.dag_id, run_id=self.record.run_id, task_id=row.task_id, map_index=row.map_index, try_number=row.try_number
        )
        self.waits.start(row.pk, deferral, ti)

    def _resume(self, task: _Task, event: Any) -> None:
        task.next_kwargs = {**(task.next_kwargs or {}), "event": event}
        task.timeout_at = None
        task.row.state = TaskState.SCHEDULED

    def _take_in_triggers(self, seconds: float | None) -> None:
        """What triggers found; waits so long for the first."""
        while (fired := self.waits.next(seconds)) is not None:
            self._fired(self.tasks[fired.pk], fired)
            seconds = 0

    def _fired(self, task: _Task, fired: Fired) -> None:
        if fired.ends is not None:
            own = (self.record.dag_id, self.record.run_id, task.row.task_id, task.row.map_index)
            self.server.store([{"key": key, "value": serde.serialize(value)} for key, value in (fired.xcoms or {}).items()], own)
            task.result.error = "Its trigger ended it as failed." if fired.ends == "failed" else None
            self._end(task, TaskState(fired.ends))
        elif fired.error is not None:
            task.next_method, task.next_kwargs = "__fail__", {"error": fired.error}
            task.row.state, task.timeout_at = TaskState.SCHEDULED, None
        else:
            self._resume(task, fired.event)

    def _time_out(self) -> None:
        """Deferrals that took too long."""
        now = datetime.now(UTC)
        for task in self.tasks.values():
            if task.row.state == TaskState.DEFERRED and task.timeout_at is not None and task.timeout_at <= now:
                self.waits.cancel(task.row.pk)
                self._fired(task, Fired(task.row.pk, error="Trigger timeout"))

    def _wait(self, decided: Plan) -> None:
        """Nothing can run: until a trigger fires or time has passed."""
        moments = [decided.wake_at, *(t.timeout_at for t in self.tasks.values() if t.row.state == TaskState.DEFERRED)]
        at = min((m for m in moments if m is not None), default=None)
        if self.waits:
            self._take_in_triggers(self._seconds_to(at))
        elif at is not None:
            waiting = [f"{_name(t.row)}: {t.row.reason or t.row.state}" for t in self.tasks.values() if t.row.next_at is not None]
            self._sleep_until(at, "; ".join(waiting[:3]) or "the run")
        else:
            raise RuntimeError(f"the run cannot go on and does not say why: {[(t.row.task_id, t.row.state) for t in self.tasks.values()]}")
        self._time_out()

    def _seconds_to(self, at: datetime | None) -> float | None:
        return None if at is None else max(0.0, (at - datetime.now(UTC)).total_seconds())

    def _sleep_until(self, at: datetime | None, why: str) -> None:
        seconds = self._seconds_to(at) or 0
        if seconds > 1:
            log.info("waiting %.0f s (%s)", seconds, why)
        time.sleep(seconds)

    # For the server and the results -------------------------------------------------------------------------------
    def described(self) -> Iterator[dict[str, Any]]:
        """Task instances as the server's answers need them."""
        for task in self.tasks.values():
            row, spec = task.row, self.compiled.graph.tasks[task.row.task_id]
            yield {
                "dag_id": self.record.dag_id, "run_id": self.record.run_id, "task_id": row.task_id, "map_index": row.map_index,
                "state": str(row.state), "logical_date": self.record.logical_date, "group_id": spec.group_id,
            }  # fmt: skip

    def _pull(self, task_id: str, key: str, map_index: int | None) -> Any:
        found = self.server.records(self.record.dag_id, self.record.run_id, task_id, key)
        values = [serde.deserialize(json.loads(json.dumps(x.value))) for x in found if map_index is None or x.map_index == map_index]
        if map_index is None and any(x.map_index >= 0 for x in found):
            return values
        return values[0] if values else None


def _name(row: TaskRow) -> str:
    return row.task_id if row.map_index < 0 else f"{row.task_id}[{row.map_index}]"

