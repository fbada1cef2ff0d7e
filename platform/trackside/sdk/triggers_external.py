"""Triggers that wait for another DAG: for runs (TriggerDagRunOperator), for tasks, groups and dates (ExternalTaskSensor).

Known by their names in Airflow's standard provider. They ask the triggerer, which tells states of runs and task instances.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Collection
from typing import Any

from trackside.sdk.execution import current
from trackside.sdk.execution.comms import call
from trackside.sdk.execution.ti import RuntimeTaskInstance
from trackside.sdk.triggers import BaseTrigger, TriggerEvent


class DagStateTrigger(BaseTrigger):
    """Fires when all `run_ids` of `dag_id` are in one of `states`. Its event is (class path, arguments and run id → state)."""

    def __init__(
        self,
        dag_id: str,
        states: list[str],
        run_ids: list[str] | None = None,
        poll_interval: float = 5.0,
        execution_dates: list[dt.datetime] | None = None,
    ) -> None:
        super().__init__()
        self.dag_id, self.states, self.poll_interval = dag_id, [str(state) for state in states], poll_interval
        self.run_ids, self.execution_dates = list(run_ids or []), execution_dates

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See `BaseTrigger.serialize`."""
        arguments = {
            "dag_id": self.dag_id, "states": self.states, "run_ids": self.run_ids, "poll_interval": self.poll_interval,
            "execution_dates": self.execution_dates,
        }  # fmt: skip
        return "airflow.providers.standard.triggers.external_task.DagStateTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, sleep, look again."""
        while True:
            found = {run_id: await asyncio.to_thread(self._state, run_id) for run_id in self.run_ids}
            if all(state in self.states for state in found.values()):
                classpath, arguments = self.serialize()
                yield TriggerEvent([classpath, {**arguments, **found}])
                return
            await asyncio.sleep(self.poll_interval)

    def _state(self, run_id: str) -> str | None:
        comms = current.comms()
        if comms is None:
            raise RuntimeError("there is no way to the server here")
        answer = call(comms, "GET", "/runs/state", params={"dag_id": self.dag_id, "run_id": run_id})
        state: str | None = answer["state"]
        return state


class WorkflowTrigger(BaseTrigger):
    """Fires with `{"status": "success" | "skipped" | "failed"}`, by the rules of ExternalTaskSensor."""

    def __init__(
        self,
        external_dag_id: str,
        run_ids: list[str] | None = None,
        execution_dates: list[dt.datetime] | None = None,
        logical_dates: list[dt.datetime] | None = None,
        external_task_ids: Collection[str] | None = None,
        external_task_group_id: str | None = None,
        failed_states: Collection[str] | None = None,
        skipped_states: Collection[str] | None = None,
        allowed_states: Collection[str] | None = None,
        poke_interval: float = 2.0,
        soft_fail: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.external_dag_id, self.external_task_group_id = external_dag_id, external_task_group_id
        self.external_task_ids = list(external_task_ids) if external_task_ids else None
        self.run_ids, self.logical_dates = run_ids, logical_dates or execution_dates
        self.failed_states, self.skipped_states = _texts(failed_states), _texts(skipped_states)
        self.allowed_states = _texts(allowed_states) or ["success"]
        self.poke_interval, self.soft_fail = poke_interval, soft_fail

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See `BaseTrigger.serialize`."""
        names = (
            *("external_dag_id", "run_ids", "logical_dates", "external_task_ids", "external_task_group_id", "failed_states"),
            *("skipped_states", "allowed_states", "poke_interval", "soft_fail"),
        )
        return "airflow.providers.standard.triggers.external_task.WorkflowTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, sleep, look again."""
        while (status := await asyncio.to_thread(self._look)) is None:  # noqa: ASYNC110 - the server is asked, no event tells
            await asyncio.sleep(self.poke_interval)
        yield TriggerEvent({"status": status})

    def _look(self) -> str | None:
        if self.failed_states and self._count(self.failed_states) > 0:
            return "failed"
        if self.skipped_states and self._count(self.skipped_states) > 0:
            return "skipped"
        wanted = len(self.run_ids or self.logical_dates or ())
        return "success" if self._count(self.allowed_states) == wanted else None

    def _count(self, states: list[str]) -> float:
        """How many of the dates or runs have everything in these states; tasks count in fractions."""
        what: dict[str, Any] = {"dag_id": self.external_dag_id, "logical_dates": self.logical_dates, "run_ids": self.run_ids}
        if self.external_task_ids:
            found = RuntimeTaskInstance.get_ti_count(task_ids=self.external_task_ids, states=states, **what)
            return found / len(self.external_task_ids)
        if self.external_task_group_id:
            runs = RuntimeTaskInstance.get_task_states(task_group_id=self.external_task_group_id, **what)
            return sum(bool(run) and all(state in states for state in run.values()) for run in runs.values())
        return RuntimeTaskInstance.get_dr_count(states=states, **what)


def _texts(states: Collection[str] | None) -> list[str]:
    return [str(getattr(state, "value", state)) for state in states or ()]
