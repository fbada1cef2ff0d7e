"""The scheduler's brain: `plan(snapshot, now) -> Plan`. No I/O, no clock, no Django.

One pass in topological order judges every task instance that could move, using its own earlier decisions, so that a
cascade of skips needs one plan. Called by `apps/runs/brain.py` under the run's lock; its decisions are applied by
`apps/runs/transitions` with the old state as a guard. Property tests compare it with an independent, naive model.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from trackside.core import mapping, reasons
from trackside.core.reasons import Reason
from trackside.core.rules import TriggerRule, Upstream, Verdict, evaluate
from trackside.core.snapshot import Snapshot, TaskRow
from trackside.core.spec import TaskSpec
from trackside.core.states import FAILED_STATES, FINISHED, OCCUPYING, PARKED, PLANNABLE, SUCCESS_STATES, RunState, TaskState

_LOOK_AT_ALL = frozenset(
    {TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ONE_DONE, TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS}
)
"""Rules of which a task in a mapped group without indexes asks all indexes before it."""
PAUSED_POLL = timedelta(seconds=60)
"""How often a run of a paused DAG looks by itself, should the hint that the DAG was unpaused be lost."""
PAST_POLL = timedelta(seconds=10)
"""How often a run that waits for another run looks by itself."""


@dataclass(slots=True)
class Expansion:
    """Turn the unexpanded instance `pk` of a mapped task into indexes 0 … length-1 (length ≥ 1).

    They are scheduled with it if `starts`. Otherwise each waits for its own index of a task before it: plan once more.
    """

    pk: int
    task_id: str
    length: int
    starts: bool = True


@dataclass(slots=True)
class Growth:
    """The input of an expanded task has become longer (its source was cleared): add these indexes. `starts`: see Expansion."""

    task_id: str
    indexes: range
    starts: bool = True


@dataclass(slots=True)
class Plan:
    """What to do with a run. Lists hold task instance pks; every entry comes with its reason where people will ask."""

    schedule: list[int] = field(default_factory=list)
    complete: list[int] = field(default_factory=list)
    """Tasks without work: success at once."""
    skip: list[int] = field(default_factory=list)
    upstream_fail: list[int] = field(default_factory=list)
    remove: list[int] = field(default_factory=list)
    stop_failed: list[int] = field(default_factory=list)
    """Running ones that fail_fast ends as failed."""
    stop_skipped: list[int] = field(default_factory=list)
    """What fail_fast or a run timeout ends as skipped, running ones included."""
    expand: list[Expansion] = field(default_factory=list)
    grow: list[Growth] = field(default_factory=list)
    reasons: dict[int, Reason | None] = field(default_factory=dict)
    """Only what changed against the snapshot; None clears."""
    outcome: RunState | None = None
    run_reason: Reason | None = None
    wake_at: datetime | None = None
    """When time alone may change something; None: only an event can."""

    @property
    def moves(self) -> bool:
        """Whether any state changes."""
        return bool(
            self.schedule or self.complete or self.skip or self.upstream_fail or self.remove
            or self.stop_failed or self.stop_skipped or self.expand or self.grow or self.outcome
        )  # fmt: skip


def plan(snapshot: Snapshot, now: datetime) -> Plan:
    """Decide everything that can be decided about a running run at `now` (aware)."""
    return _Planner(snapshot, now).run()


class _Planner:
    """State of one planning pass."""

    def __init__(self, snapshot: Snapshot, now: datetime):
        self.snapshot = snapshot
        self.dag = snapshot.dag
        self.graph = snapshot.dag.graph
        self.now = now
        self.plan = Plan()
        self.rows: dict[str, list[TaskRow]] = defaultdict(list)
        for row in snapshot.tasks:
            self.rows[row.task_id].append(row)
        self.held_by_past = False
        self.lengths: dict[str, int | None] = {}

    def run(self) -> Plan:
        self._drop_vanished()
        if self._timed_out():
            return self.plan
        if not self.snapshot.paused:
            self._stop_on_failure()
            if not self._in_future():
                for task_id in self.graph.order:
                    self._judge_task(self.graph.tasks[task_id])
        self._decide_run()
        return self.plan

    # --- the run as a whole ---------------------------------------------------------------------------------------
    def _drop_vanished(self) -> None:
        """Instances of tasks that the DAG version no longer has."""
        for row in self.snapshot.tasks:
            if row.task_id not in self.graph.tasks and row.state not in OCCUPYING and row.state != TaskState.REMOVED:
                row.state = TaskState.REMOVED
                self.plan.remove.append(row.pk)

    def _timed_out(self) -> bool:
        limit, started = self.dag.dagrun_timeout, self.snapshot.run.start_date
        if limit is None or started is None:
            return False
        deadline = started + timedelta(seconds=limit)
        if self.now < deadline:
            self._wake(deadline)
            return False
        unfinished = [r for r in self.snapshot.tasks if r.state not in FINISHED]
        if not unfinished:
            return False
        why = reasons.timed_out(limit)
        for row in unfinished:
            self.plan.stop_skipped.append(row.pk)
            self.plan.reasons[row.pk] = why
        self.plan.outcome, self.plan.run_reason = RunState.FAILED, why
        return True

    def _in_future(self) -> bool:
        date = self.snapshot.run.logical_date
        if date is None or date <= self.now:
            return False
        self._wake(date)
        self.held_by_past = True
        self.plan.run_reason = reasons.future(date)
        return True

    def _stop_on_failure(self) -> None:
        """fail_fast: the first final failure ends the rest, teardowns spared (Airflow's rule)."""
        if not self.dag.spec.fail_fast:
            return
        tasks = self.graph.tasks
        culprit = next(
            (r for r in self.snapshot.tasks if r.state == TaskState.FAILED and r.task_id in tasks and not tasks[r.task_id].is_teardown),
            None,
        )
        if culprit is None:
            return
        why = reasons.fail_fast(culprit.task_id)
        for row in self.snapshot.tasks:
            task = tasks.get(row.task_id)
            if task is None or task.is_teardown or row.state in FINISHED:
                continue
            if row.state in (TaskState.RUNNING, TaskState.RESTARTING):
                row.state = TaskState.FAILED
                self.plan.stop_failed.append(row.pk)
            else:
                row.state = TaskState.SKIPPED
                self.plan.stop_skipped.append(row.pk)
            self.plan.reasons[row.pk] = why

    def _decide_run(self) -> None:
        unfinished = [r for r in self.snapshot.tasks if r.state not in FINISHED]
        if not unfinished and not self.plan.expand and not self.plan.grow:
            self._finish_run()
            return
        active = any(
            r.state in OCCUPYING or r.state in PARKED or r.state in (TaskState.SCHEDULED, TaskState.UP_FOR_RETRY) for r in unfinished
        )
        if active or self.plan.expand or self.plan.grow:
            moving = any(r.state in OCCUPYING or r.state == TaskState.SCHEDULED for r in unfinished) or self.plan.expand or self.plan.grow
            if not moving:
                self.plan.run_reason = self._first_reason(unfinished)
        elif self.snapshot.paused:
            self.plan.run_reason = reasons.PAUSED
            self._wake(self.now + PAUSED_POLL)
        elif self.held_by_past:
            self.plan.run_reason = self.plan.run_reason or self._first_reason(unfinished)
        else:
            self.plan.outcome, self.plan.run_reason = RunState.FAILED, reasons.DEADLOCK

    def _finish_run(self) -> None:
        if self.snapshot.run.marked in (RunState.SUCCESS, RunState.FAILED):
            self.plan.outcome = RunState(self.snapshot.run.marked)
            return
        leaves = [r for r in self.snapshot.tasks if r.task_id in self.graph.effective_leaves and r.state != TaskState.REMOVED]
        if any(r.state in FAILED_STATES for r in leaves):
            broken = [r.task_id for r in self.snapshot.tasks if r.state == TaskState.FAILED] or [
                r.task_id for r in leaves if r.state in FAILED_STATES
            ]
            self.plan.outcome, self.plan.run_reason = RunState.FAILED, reasons.failed_leaves(list(dict.fromkeys(broken)))
        else:
            self.plan.outcome = RunState.SUCCESS

    def _first_reason(self, rows: list[TaskRow]) -> Reason | None:
        """The sentence of the first row (in graph order) that waits for something other than its upstream."""
        by_task = {r.task_id: r for r in reversed(rows)}
        for task_id in self.graph.order:
            row = by_task.get(task_id)
            if row is None:
                continue
            why = self.plan.reasons.get(row.pk) or (Reason(row.reason_code, row.reason) if row.reason_code and row.reason else None)
            if why is not None and why.code != "upstream":
                return Reason(why.code, f"{task_id}: {why.text}")
        return None

    # --- one task -------------------------------------------------------------------------------------------------
    def _judge_task(self, task: TaskSpec) -> None:
        for row in self.rows.get(task.task_id, ()):
            if row.state in PLANNABLE:
                self._judge(row, task)

    def _judge(self, row: TaskRow, task: TaskSpec) -> None:
        if (chooser := self._left_out_by(row, task)) is not None:
            self._end(row, TaskState.SKIPPED, reasons.branch(chooser))
            return
        if not self._is_due(row):
            return
        if (setup := self._setup_verdict(row, task)) is not None:
            verdict, why = setup
        else:
            verdict, why = self._rule_verdict(row, task), None
        if verdict is Verdict.WAIT:
            self._explain(row, why or reasons.upstream(self._open_upstream(row, task)))
        elif verdict is Verdict.SKIP:
            if task.wait_for_past_depends_before_skipping and (past := self._past_reason(task)) is not None:
                self._hold_for_past(row, past)
            else:
                self._end(row, TaskState.SKIPPED, why or reasons.rule_skip(task.trigger_rule))
        elif verdict is Verdict.UPSTREAM_FAIL:
            self._end(row, TaskState.UPSTREAM_FAILED, why or reasons.rule_fail(task.trigger_rule, self._failed_upstream(row, task)))
        elif verdict is Verdict.REMOVE:
            row.state = TaskState.REMOVED
            self.plan.remove.append(row.pk)
        elif (past := self._past_reason(task)) is not None:
            self._hold_for_past(row, past)
        else:
            self._go(row, task)

    def _go(self, row: TaskRow, task: TaskSpec) -> None:
        """All dependencies are met: expand, complete or schedule."""
        if row.map_index < 0 and mapping.is_expanded_lazily(task, self.dag):
            length = mapping.expansion_length(task, self.dag, self.snapshot.lengths, self.rows)
            if length is None:
                self._explain(row, reasons.mapped_source(mapping.first_unknown(task, self.dag, self.snapshot.lengths, self.rows)))
            elif length == 0:
                self._end(row, TaskState.SKIPPED, reasons.NOTHING_TO_MAP)
            else:
                row.state = TaskState.SCHEDULED
                self.plan.expand.append(Expansion(row.pk, row.task_id, length, self._starts_together(task)))
            return
        if row.map_index >= 0 and not self._still_mapped(row, task):
            row.state = TaskState.REMOVED
            self.plan.remove.append(row.pk)
            return
        if not task.has_work and row.state == TaskState.NONE:
            row.state = TaskState.SUCCESS
            self.plan.complete.append(row.pk)
        else:
            row.state = TaskState.SCHEDULED
            self.plan.schedule.append(row.pk)
        self.plan.reasons.pop(row.pk, None)  # scheduling clears the reason by itself

    def _starts_together(self, task: TaskSpec) -> bool:
        """Whether no index waits for its own index of another task of the mapped group."""
        group = task.mapped_group_id
        return group is None or all(self.dag.group_of.get(u) != group for u in self.graph.upstream[task.task_id])

    def _still_mapped(self, row: TaskRow, task: TaskSpec) -> bool:
        """Whether the index still exists; the source of a mapping may give another length after it was cleared."""
        if task.task_id not in self.lengths:
            known = mapping.sources(task, self.dag)
            length = mapping.expansion_length(task, self.dag, self.snapshot.lengths, self.rows) if known else None
            self.lengths[task.task_id] = length
            rows = self.rows[task.task_id]
            if length is not None and length > len(rows):
                self.plan.grow.append(Growth(task.task_id, range(len(rows), length), self._starts_together(task)))
        length = self.lengths[task.task_id]
        return length is None or row.map_index < length

    def _is_due(self, row: TaskRow) -> bool:
        if row.state == TaskState.NONE or row.next_at is None or row.next_at <= self.now:
            return True
        self._wake(row.next_at)
        if row.state == TaskState.UP_FOR_RETRY:
            self._explain(row, reasons.retry(row.try_number, row.max_tries, row.next_at))
        else:
            self._explain(row, reasons.reschedule(row.next_at))
        return False

    # --- dependencies ---------------------------------------------------------------------------------------------
    def _relevant(self, row: TaskRow, task: TaskSpec, upstream_id: str) -> list[TaskRow]:
        """Upstream instances that count for this one: the same index inside one mapped group, else all.

        A task of a mapped group that has no indexes yet gets them as soon as the tasks before it have theirs, whatever became of
        those; only rules that some of many can satisfy look at all of them first (as Airflow 3.3.2).
        """
        rows = self.rows.get(upstream_id, [])
        group = task.mapped_group_id
        if group is None or self.dag.group_of.get(upstream_id) != group:
            return rows
        if row.map_index >= 0:
            return [r for r in rows if r.map_index in (row.map_index, -1)]
        return rows if task.trigger_rule in _LOOK_AT_ALL else [r for r in rows if r.map_index < 0]

    def _count(self, row: TaskRow, task: TaskSpec) -> Upstream:
        up = Upstream()
        for upstream_id in self.graph.upstream[task.task_id]:
            is_setup = self.graph.tasks[upstream_id].is_setup
            for r in self._relevant(row, task, upstream_id):
                up.add(r.state, is_setup=is_setup)
        return up

    def _rule_verdict(self, row: TaskRow, task: TaskSpec) -> Verdict:
        if task.trigger_rule != TriggerRule.ALWAYS and (verdict := self._mapped_source_verdict(row, task)) is not None:
            return verdict
        if task.is_teardown and any(
            r.state not in FINISHED for t in self.dag.teardown_scope.get(task.task_id, ()) for r in self.rows.get(t, ())
        ):
            return Verdict.WAIT
        return evaluate(task.trigger_rule, self._count(row, task))

    def _mapped_source_verdict(self, row: TaskRow, task: TaskSpec) -> Verdict | None:
        """What a mapped task is mapped over must have succeeded, whatever the trigger rule says."""
        if row.map_index >= 0 or not mapping.is_expanded_lazily(task, self.dag):
            return None
        states = {r.state for source in mapping.sources(task, self.dag) for r in self.rows.get(source, ())}
        if states & FAILED_STATES:
            return Verdict.UPSTREAM_FAIL
        if states - FINISHED:
            return Verdict.WAIT
        return Verdict.SKIP if states and not states - {TaskState.SKIPPED, TaskState.REMOVED} else None

    def _setup_verdict(self, row: TaskRow, task: TaskSpec) -> tuple[Verdict, Reason | None] | None:
        """Every task in scope also needs its setups, even indirect ones, to have succeeded."""
        open_setups = []
        for setup_id in self.dag.scope_setups.get(task.task_id, ()):
            for r in self._relevant(row, task, setup_id):
                if r.state in FAILED_STATES:
                    return Verdict.UPSTREAM_FAIL, None
                if r.state == TaskState.SKIPPED:
                    return Verdict.SKIP, None
                if r.state not in FINISHED:
                    open_setups.append(setup_id)
        return (Verdict.WAIT, reasons.setups(open_setups)) if open_setups else None

    def _left_out_by(self, row: TaskRow, task: TaskSpec) -> str | None:
        """The branch or short circuit directly upstream whose standing decision leaves this task out."""
        for upstream_id in self.graph.upstream[task.task_id]:
            upstream = self.graph.tasks[upstream_id]
            if upstream.skips is None:
                continue
            for r in self._relevant(row, task, upstream_id):
                if upstream.mapped and r.map_index != row.map_index:
                    continue  # an instance of a mapped branch decides for its own index only (observed on Airflow 3.3.2)
                decision = self.snapshot.decisions.get((upstream_id, r.map_index))
                if decision is None or r.state != TaskState.SUCCESS:
                    continue
                followed, skipped = decision.get("followed"), decision.get("skipped")
                if (followed is not None and task.task_id not in followed) or (skipped and task.task_id in skipped):
                    return upstream_id
        return None

    def _hold_for_past(self, row: TaskRow, why: Reason) -> None:
        """The end of the other run's task wakes this run; should that hint be lost, it looks again by itself."""
        self.held_by_past = True
        self._explain(row, why)
        self._wake(self.now + PAST_POLL)

    def _past_reason(self, task: TaskSpec) -> Reason | None:
        """Why depends_on_past holds the task back, or None."""
        past = self.snapshot.past
        if task.task_id not in self.dag.needs_past or past is None or self.snapshot.run.ignores_past:
            return None
        if self.dag.spec.catchup and self._starts_after(task, past.logical_date):
            return None
        states = past.states.get(task.task_id, [])
        if not states:
            if task.ignore_first_depends_on_past and task.task_id not in past.had_before:
                return None
            return reasons.past_missing(past.run_id)
        bad = next((s for s in states if s not in SUCCESS_STATES), None)
        if bad is not None:
            return reasons.past_unsuccessful(past.run_id, bad)
        if task.wait_for_downstream:
            waiting = [d for d in self.graph.downstream[task.task_id] if any(s not in SUCCESS_STATES for s in past.states.get(d, []))]
            if waiting:
                return reasons.past_downstream(past.run_id, waiting)
        return None

    @staticmethod
    def _starts_after(task: TaskSpec, date: datetime | None) -> bool:
        """Whether the previous run lies before the task's start_date: then this is its first one."""
        return bool(task.start_date and date and date < datetime.fromisoformat(task.start_date))

    # --- words ----------------------------------------------------------------------------------------------------
    def _open_upstream(self, row: TaskRow, task: TaskSpec) -> list[str]:
        return [u for u in self.graph.upstream[task.task_id] if any(r.state not in FINISHED for r in self._relevant(row, task, u))]

    def _failed_upstream(self, row: TaskRow, task: TaskSpec) -> list[str]:
        return [u for u in self.graph.upstream[task.task_id] if any(r.state in FAILED_STATES for r in self._relevant(row, task, u))]

    def _end(self, row: TaskRow, state: TaskState, why: Reason) -> None:
        row.state = state
        (self.plan.skip if state == TaskState.SKIPPED else self.plan.upstream_fail).append(row.pk)
        self.plan.reasons[row.pk] = why

    def _explain(self, row: TaskRow, why: Reason | None) -> None:
        if (why.code if why else None, why.text if why else None) != (row.reason_code, row.reason):
            self.plan.reasons[row.pk] = why

    def _wake(self, at: datetime) -> None:
        if self.plan.wake_at is None or at < self.plan.wake_at:
            self.plan.wake_at = at
