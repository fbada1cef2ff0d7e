"""The task instance that task code sees as `ti`.

For `context.py`, operators and DAG authors. What the StartOrder said is answered from it; the rest asks the server.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote

from trackside.core.environment import SITE_URL
from trackside.core.messages import StartOrder, XComRecord
from trackside.sdk.exceptions import AirflowNotFoundException
from trackside.sdk.execution import hiding, xcom, xcom_backend
from trackside.sdk.execution.comms import Comms, call, quoted
from trackside.sdk.execution.records import DagFacts, DagRun, PreviousTaskInstance, TaskInstanceKey, moment, to_wire
from trackside.sdk.execution.xcom import XCOM_RETURN_KEY
from trackside.sdk.types import NOTSET, is_arg_set


class RuntimeTaskInstance:
    """One try of a task, running in this process."""

    def __init__(self, order: StartOrder, task: Any, dag: Any, comms: Comms) -> None:
        self.order, self.task, self.dag, self.comms = order, task, dag, comms
        self.id = order.try_id
        self.dag_id, self.task_id, self.map_index = order.dag_id, order.task_id, order.map_index
        self.try_number, self.max_tries = order.try_number, order.max_tries
        self.dag_run = DagRun.from_wire(order.run)
        self.run_id = self.dag_run.run_id
        self.logical_date = self.dag_run.logical_date
        self.start_date = moment(order.ti_start_date) or moment(datetime.now().astimezone())
        self.end_date: datetime | None = None
        self.state: str = "running"
        self.rendered_map_index: str | None = None
        self.hostname, self.pool, self.queue = order.hostname, order.pool, order.queue
        self.priority_weight, self.operator = order.priority_weight, order.operator
        self.dag_version_id, self.queued_dttm = order.dag_version_id, moment(order.queued_at)
        self.is_mapped = order.map_index >= 0
        self.pid = os.getpid()
        self.skip_decision: dict[str, Any] | None = None
        """What a branch or short circuit decided, in the form of FinishReport.skip."""
        self.final_xcoms: list[dict[str, Any]] = []
        """XComRecords that travel with the report instead of at once."""
        self.context: Any = None

    def __repr__(self) -> str:
        mapped = f" map_index={self.map_index}" if self.is_mapped else ""
        return f"<TaskInstance: {self.dag_id}.{self.task_id} {self.run_id}{mapped} [{self.state}]>"

    # Identity

    @property
    def key(self) -> TaskInstanceKey:
        """What names this try."""
        return TaskInstanceKey(self.dag_id, self.task_id, self.run_id, self.try_number, self.map_index)

    @cached_property
    def log(self) -> logging.Logger:
        """The task's logger."""
        return logging.getLogger("airflow.task")

    @property
    def duration(self) -> float | None:
        """Seconds between start and end, once it ended."""
        return (self.end_date - self.start_date).total_seconds() if self.end_date and self.start_date else None

    @property
    def log_url(self) -> str:
        """Page of this try's log (with the page's own arguments; Airflow names another path)."""
        base = os.environ.get(SITE_URL, "http://localhost:8080").rstrip("/")
        mapped = f"map_index={self.map_index}&" if self.is_mapped else ""
        run, task = quote(self.run_id, safe=""), quote(self.task_id, safe="")
        return f"{base}/dags/{quote(self.dag_id)}/runs/{run}/tasks/{task}?{mapped}try={self.try_number}"

    @property
    def mark_success_url(self) -> str:
        """Page on which the task can be marked a success."""
        return self.log_url

    @property
    def is_eligible_to_retry(self) -> bool:
        """Whether a failure now is followed by another try."""
        return self.max_tries > 0 and self.try_number <= self.max_tries

    # Context

    def get_template_context(self) -> Any:
        """The context of this try."""
        return self.context

    def get_dagrun(self, *_: Any, **__: Any) -> DagRun:
        """The run."""
        return self.dag_run

    def render_templates(self, context: Any = None, jinja_env: Any = None) -> Any:
        """Render the task's template fields in place; returns the task."""
        original = self.task
        env = jinja_env or (self.task.get_template_env() if hasattr(self.task, "get_template_env") else None)
        self.task.render_template_fields(context or self.context, env)
        return original

    # XComs

    def xcom_push(self, key: str, value: Any) -> None:
        """Publish a value under `key`, visible at once."""
        xcom.push_stored(self.comms, key, self._stored(key, value), self.map_index)

    def _stored(self, key: str, value: Any) -> Any:
        return xcom_backend.to_stored(
            value, key=key, dag_id=self.dag_id, run_id=self.run_id, task_id=self.task_id, map_index=self.map_index
        )

    def xcom_push_at_end(self, key: str, value: Any, length: int | None = None) -> None:
        """Publish a value together with the end of the try."""
        stored = self._stored(key, value)
        record = XComRecord(key=key, value=stored, map_index=self.map_index, length=length, shown=hiding.shown(stored))
        self.final_xcoms.append(record.to_dict())

    def xcom_pull(
        self,
        task_ids: str | Iterable[str] | None = None,
        dag_id: str | None = None,
        key: str = XCOM_RETURN_KEY,
        include_prior_dates: bool = False,
        *,
        map_indexes: Any = NOTSET,
        default: Any = None,
        run_id: str | None = None,
        **_: Any,
    ) -> Any:
        """Values other tasks published (or this one: `task_ids` None).

        One task id gives its value (a list if it is mapped and has several); several task ids, or several
        `map_indexes`, give a list. Nothing there: None, or `default` if `map_indexes` is given.
        """
        if default is NOTSET and not is_arg_set(map_indexes):
            map_indexes = None  # asked by XComArg.resolve, which has to tell "nothing there" from None
        single_task = task_ids is None or isinstance(task_ids, str)
        ids = [self.task_id] if task_ids is None else [task_ids] if isinstance(task_ids, str) else list(task_ids)
        if not is_arg_set(map_indexes):
            values: list[Any] = []
            for task_id in ids:
                values.extend(self.xcom_values(task_id, key, dag_id, run_id, include_prior_dates) or [None])
            return values[0] if single_task and len(values) == 1 else values
        single_index = map_indexes is None or isinstance(map_indexes, int)
        indexes = [map_indexes] if single_index else list(map_indexes)
        found = []
        for task_id, index in itertools.product(ids, indexes):
            records = self._records(task_id, key, dag_id, run_id, include_prior_dates, -1 if index is None else index)
            value = xcom_backend.from_stored(records[0]) if records else None
            found.append(default if value is None else value)
        return found[0] if single_task and single_index else found

    def xcom_values(
        self,
        task_id: str,
        key: str = XCOM_RETURN_KEY,
        dag_id: str | None = None,
        run_id: str | None = None,
        include_prior_dates: bool = False,
    ) -> list[Any]:
        """Values of all map indexes of one task, in their order; indexes that published nothing are left out."""
        records = self._records(task_id, key, dag_id, run_id, include_prior_dates, None)
        if include_prior_dates:  # all runs count here, the oldest first; asked by map index, only the newest does
            oldest_first = records[::-1]
            records = sorted(oldest_first, key=lambda record: record.map_index)
        return [xcom_backend.from_stored(record) for record in records]

    async def axcom_push(self, key: str, value: Any) -> None:
        """`xcom_push` for code in an event loop."""
        import asyncio

        await asyncio.to_thread(self.xcom_push, key, value)

    async def axcom_pull(self, *args: Any, **kwargs: Any) -> Any:
        """`xcom_pull` for code in an event loop."""
        import asyncio

        return await asyncio.to_thread(self.xcom_pull, *args, **kwargs)

    def _records(
        self, task_id: str, key: str, dag_id: str | None, run_id: str | None, prior: bool, index: int | None
    ) -> list[XComRecord]:
        here = dag_id in (None, self.dag_id) and run_id in (None, self.run_id) and not prior
        if here and key == XCOM_RETURN_KEY and self.order.xcoms_complete and task_id in self._upstream_ids:
            return [r for r in self._prefetched.get(task_id, ()) if index is None or r.map_index == index]
        found = xcom.fetch(
            self.comms,
            dag_id=dag_id or self.dag_id,
            run_id=run_id or self.run_id,
            task_id=task_id,
            key=key,
            map_index=index,
            include_prior_dates=prior,
        )
        if index is None:
            return list(found)
        return [record for record in found if record.run_id == found[0].run_id]  # newest run first; older ones are not meant

    @cached_property
    def _upstream_ids(self) -> frozenset[str]:
        return frozenset(getattr(self.task, "upstream_task_ids", ()))

    @cached_property
    def _prefetched(self) -> dict[str, list[XComRecord]]:
        found: dict[str, list[XComRecord]] = {}
        for item in self.order.xcoms:
            record = xcom.record(item)
            if record.key == XCOM_RETURN_KEY and record.task_id:
                found.setdefault(record.task_id, []).append(record)
        for records in found.values():
            records.sort(key=lambda record: record.map_index)
        return found

    def get_relevant_upstream_map_indexes(self, upstream: Any, *_: Any, **__: Any) -> Any:
        """Map indexes of `upstream` that belong to this instance: None (all), one, or several."""
        return self._upstream_map_indexes.get(getattr(upstream, "task_id", upstream))

    @property
    def _upstream_map_indexes(self) -> _UpstreamMapIndexes:
        return _UpstreamMapIndexes(self)

    # Other runs and tasks

    @cached_property
    def previous_success(self) -> DagRun | None:
        """The latest successful run before this one."""
        return self.get_previous_dagrun(state="success")

    def get_previous_dagrun(self, state: str | None = None) -> DagRun | None:
        """The run before this one by logical date (in that state), or None."""
        params = {
            "dag_id": self.dag_id,
            "logical_date": to_wire(self.dag_run.logical_date or self.dag_run.run_after),
            "state": str(getattr(state, "value", state)) if state else None,
        }
        found = call(self.comms, "GET", "/runs/previous", params=params).get("run")
        return DagRun.from_wire(found) if found else None

    def get_previous_ti(
        self, state: str | None = None, logical_date: datetime | None = None, map_index: int | None = None
    ) -> PreviousTaskInstance | None:
        """This task in the run before (in that state), or None."""
        day = logical_date or self.dag_run.logical_date or self.dag_run.run_after
        params = {"dag_id": self.dag_id, "logical_date": to_wire(day)}
        found = call(self.comms, "GET", "/runs/previous", params=params).get("run")
        if not found:
            return None
        index = self.map_index if map_index is None else map_index
        states = self.get_task_states(dag_id=self.dag_id, task_ids=[self.task_id], run_ids=[found["run_id"]])
        name = self.task_id if index < 0 else f"{self.task_id}_{index}"
        there = states.get(found["run_id"], {}).get(name)
        if there is None or (state is not None and there != str(getattr(state, "value", state))):
            return None
        run = DagRun.from_wire(found)
        days = (run.logical_date, run.start_date, run.end_date)
        return PreviousTaskInstance(self.task_id, self.dag_id, run.run_id, *days, there, map_index=index)

    def get_first_reschedule_date(self, context: Any = None) -> datetime | None:
        """When this try began, if it was rescheduled since."""
        return self.start_date if self.order.reschedule_count else None

    @staticmethod
    def get_ti_count(
        dag_id: str,
        map_index: int | None = None,
        task_ids: list[str] | None = None,
        task_group_id: str | None = None,
        logical_dates: list[datetime] | None = None,
        run_ids: list[str] | None = None,
        states: list[str] | None = None,
    ) -> int:
        """How many task instances fit."""
        params = _filters(dag_id, map_index, task_ids, task_group_id, logical_dates, run_ids, states)
        return int(call(_active(), "GET", "/task-instances/count", params=params)["count"])

    @staticmethod
    def get_task_states(
        dag_id: str,
        map_index: int | None = None,
        task_ids: list[str] | None = None,
        task_group_id: str | None = None,
        logical_dates: list[datetime] | None = None,
        run_ids: list[str] | None = None,
    ) -> dict[str, Any]:
        """run id → task id (with `_<map index>` if mapped) → state."""
        params = _filters(dag_id, map_index, task_ids, task_group_id, logical_dates, run_ids, None)
        answer = call(_active(), "GET", "/task-instances/states", params=params)
        return answer.get("task_states", answer.get("states", answer))

    @staticmethod
    def get_dr_count(
        dag_id: str,
        logical_dates: list[datetime] | None = None,
        run_ids: list[str] | None = None,
        states: list[str] | None = None,
    ) -> int:
        """How many runs fit."""
        params = _filters(dag_id, None, None, None, logical_dates, run_ids, states)
        return int(call(_active(), "GET", "/runs/count", params=params)["count"])

    @staticmethod
    def get_dagrun_state(dag_id: str, run_id: str) -> str | None:
        """State of a run, None if there is no such run."""
        try:
            return call(_active(), "GET", "/runs/state", params={"dag_id": dag_id, "run_id": run_id})["state"]
        except AirflowNotFoundException:
            return None

    @staticmethod
    def get_task_breadcrumbs(dag_id: str, run_id: str) -> Iterable[dict[str, Any]]:
        """Finished tasks of a run with their states."""
        states = RuntimeTaskInstance.get_task_states(dag_id=dag_id, run_ids=[run_id])
        return [{"task_id": name, "state": state} for name, state in states.get(run_id, {}).items()]

    @staticmethod
    def get_dag(dag_id: str) -> DagFacts:
        """What the server knows about a DAG. Raises AirflowNotFoundException."""
        return DagFacts.from_wire(call(_active(), "GET", f"/dags/{quoted(dag_id)}"))


class _UpstreamMapIndexes:
    """Task id → map indexes of that task this instance reads: what the order says, else worked out from the groups."""

    def __init__(self, ti: RuntimeTaskInstance) -> None:
        self._ti = ti

    def get(self, task_id: str, default: Any = None) -> Any:
        """One index for a neighbour in the same mapped group, all indexes from outside of it."""
        ti = self._ti
        if task_id in ti.order.upstream_map_indexes:
            return ti.order.upstream_map_indexes[task_id]
        upstream = ti.dag.get_task(task_id)
        theirs = upstream.get_closest_mapped_task_group()
        if theirs is None:
            return default
        mine = ti.task.get_closest_mapped_task_group()
        if mine is not None and mine.group_id == theirs.group_id:
            return ti.map_index
        return [record.map_index for record in ti._records(task_id, XCOM_RETURN_KEY, None, None, False, None)]


class LazyXComSequence(Sequence[Any]):
    """What all indexes of a mapped task published, in their order; indexes without a value are left out.

    Read from the server when first used. Published again it becomes a list.
    """

    def __init__(self, xcom_arg: Any, ti: RuntimeTaskInstance) -> None:
        self._arg, self._ti = xcom_arg, ti

    @cached_property
    def _values(self) -> list[Any]:
        return self._ti.xcom_values(self._arg.operator.task_id, self._arg.key)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and not isinstance(other, str | bytes) and list(self) == list(other)

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return repr(self._values)

    __str__ = __repr__

    def __xcom_value__(self) -> list[Any]:
        """Plain form, see `serde`."""
        return list(self._values)


def _active() -> Comms:
    from trackside.sdk.execution import current

    active = current.comms()
    if active is None:
        raise RuntimeError("This works only while a task runs")
    return active


def _filters(
    dag_id: str,
    map_index: int | None,
    task_ids: list[str] | None,
    task_group_id: str | None,
    logical_dates: list[datetime] | None,
    run_ids: list[str] | None,
    states: list[str] | None,
) -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "map_index": map_index,
        "task_ids": task_ids,
        "task_group_id": task_group_id,
        "logical_dates": [to_wire(day) for day in logical_dates] if logical_dates else None,
        "run_ids": run_ids,
        "states": [str(getattr(state, "value", state)) for state in states] if states else None,
    }
