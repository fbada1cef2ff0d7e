"""A trigger that waits for runs of another DAG; for the deferrable TriggerDagRunOperator.

Known by its name in Airflow's standard provider. It asks the triggerer, which may say the state of a run and nothing more.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

from trackside.sdk.execution import current
from trackside.sdk.execution.comms import call
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
