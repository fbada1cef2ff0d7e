"""ExternalTaskSensor: waits for a task, a group or a whole run of another DAG at the same logical date.

Next door: `ExternalTaskMarker` below it makes clearing go the other way.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any
from urllib.parse import quote

from trackside.sdk.arguments import DEFAULT_DEFERRABLE
from trackside.sdk.exceptions import AirflowNotFoundException, AirflowSkipException
from trackside.sdk.execution.callables import determine_kwargs
from trackside.sdk.links import BaseOperatorLink
from trackside.sdk.operators.empty import EmptyOperator
from trackside.sdk.sensor import BaseSensorOperator
from trackside.sdk.sensors.external_errors import (
    DuplicateStateError,
    ExternalDagFailedError,
    ExternalDagNotFoundError,
    ExternalTaskFailedError,
    ExternalTaskGroupFailedError,
    ExternalTaskNotFoundError,
)
from trackside.sdk.triggers_external import WorkflowTrigger

_KNOWN = {
    *("success", "failed", "skipped", "upstream_failed", "removed", "running", "queued", "scheduled", "deferred"),
    *("up_for_retry", "up_for_reschedule", "restarting", "awaiting_input"),
}


class ExternalTaskSensorLink(BaseOperatorLink):
    """To the other DAG."""

    name = "External DAG"  # type: ignore[assignment]

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Page of the DAG."""
        return f"/dags/{quote(operator.external_dag_id, safe='')}"


ExternalDagLink = ExternalTaskSensorLink


class ExternalTaskSensor(BaseSensorOperator):
    """Waits until everything it names is in `allowed_states`.

    Any in `failed_states` fails it, any in `skipped_states` skips it. `execution_delta` is subtracted from the own
    logical date; `execution_date_fn` gives the date or dates to look at. Without task or group it looks at the run.
    """

    template_fields: Collection[str] = (
        *("external_dag_id", "external_task_id", "external_task_ids", "external_task_group_id"),
    )
    ui_color = "#4db7db"
    operator_extra_links: Collection[Any] = (ExternalTaskSensorLink(),)

    def __init__(
        self,
        *,
        external_dag_id: str,
        external_task_id: str | None = None,
        external_task_ids: Collection[str] | None = None,
        external_task_group_id: str | None = None,
        allowed_states: Iterable[str] | None = None,
        skipped_states: Iterable[str] | None = None,
        failed_states: Iterable[str] | None = None,
        execution_delta: dt.timedelta | None = None,
        execution_date_fn: Callable[..., Any] | None = None,
        check_existence: bool = False,
        poll_interval: float | None = None,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        if poll_interval is not None:  # the older name
            kwargs.setdefault("poke_interval", poll_interval)
        super().__init__(**kwargs)
        self.allowed_states = _states(allowed_states) or ["success"]
        self.skipped_states, self.failed_states = _states(skipped_states), _states(failed_states)
        _check_states([*self.allowed_states, *self.skipped_states, *self.failed_states])
        if external_task_id is not None and external_task_ids is not None:
            raise ValueError(
                "Only one of `external_task_id` or `external_task_ids` may be provided to ExternalTaskSensor; "
                "use external_task_id or external_task_ids or external_task_group_id."
            )
        if external_task_group_id is not None and (external_task_id is not None or external_task_ids is not None):
            raise ValueError("Only one of `external_task_group_id` and task ids may be provided to ExternalTaskSensor.")
        if execution_delta is not None and execution_date_fn is not None:
            raise ValueError("Only one of `execution_delta` or `execution_date_fn` may be provided, not both.")
        self.external_dag_id, self.external_task_id = external_dag_id, external_task_id
        self.external_task_ids = [external_task_id] if external_task_id is not None else external_task_ids
        self.external_task_group_id = external_task_group_id
        self.execution_delta, self.execution_date_fn = execution_delta, execution_date_fn
        self.check_existence, self.deferrable = check_existence, deferrable
        self._existence_checked = False

    def poke(self, context: Any) -> bool:
        """Look once."""
        dates = self._dates(context)
        if self.check_existence and not self._existence_checked:
            self._check_existence(context)
        self.log.info("Poking for %s in dag %s on %s", self._what(), self.external_dag_id, dates)
        ti = context["ti"]
        if self.failed_states and self._count(ti, dates, self.failed_states) > 0:
            message = f"The external {self._what()} in DAG {self.external_dag_id} failed."
            raise (AirflowSkipException if self.soft_fail else self._failure())(message)
        if self.skipped_states and self._count(ti, dates, self.skipped_states) > 0:
            raise AirflowSkipException(
                f"The external {self._what()} in DAG {self.external_dag_id} reached a state in "
                f"our states-to-skip-on list. Skipping."
            )
        return self._count(ti, dates, self.allowed_states) == len(dates)

    def execute(self, context: Any) -> None:
        """Wait here, or in the triggerer."""
        if not self.deferrable:
            super().execute(context)
            return
        if self.check_existence:
            self._check_existence(context)
        trigger = WorkflowTrigger(
            self.external_dag_id, logical_dates=self._dates(context), external_task_ids=self.external_task_ids,
            external_task_group_id=self.external_task_group_id, failed_states=self.failed_states, skipped_states=self.skipped_states,
            allowed_states=self.allowed_states, poke_interval=self.poke_interval, soft_fail=self.soft_fail,
        )  # fmt: skip
        longest = self.timeout or (self.execution_timeout.total_seconds() if self.execution_timeout else None)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=longest)

    def execute_complete(self, context: Any, event: dict[str, Any] | None = None) -> None:
        """What the trigger saw."""
        status = (event or {}).get("status")
        if status == "success":
            self.log.info("The external %s has succeeded.", self._what())
            return
        if status == "skipped":
            raise AirflowSkipException(f"The external {self._what()} in DAG {self.external_dag_id} was skipped. Skipping.")
        if self.soft_fail:
            raise AirflowSkipException("External job has failed skipping.")
        if status == "failed":
            raise ExternalDagFailedError(f"The external {self._what()} in DAG {self.external_dag_id} failed.")
        raise ExternalTaskNotFoundError(f"The state of the external {self._what()} in DAG {self.external_dag_id} could not be told.")

    def _failure(self) -> type[Exception]:
        if self.external_task_ids:
            return ExternalTaskFailedError
        return ExternalTaskGroupFailedError if self.external_task_group_id else ExternalDagFailedError

    def _dates(self, context: Any) -> list[dt.datetime]:
        run = context["dag_run"]
        day = run.logical_date or run.run_after
        if self.execution_delta is not None:
            return [day - self.execution_delta]
        if self.execution_date_fn is not None:
            found = self.execution_date_fn(day, **determine_kwargs(self.execution_date_fn, [day], context))
            return list(found) if isinstance(found, list | tuple) else [found]
        return [day]

    def _count(self, ti: Any, dates: Sequence[dt.datetime], states: Sequence[str]) -> float:
        """How many of the dates have everything in these states (tasks count in fractions of a date)."""
        dates = list(dates)
        if self.external_task_ids:
            ids = list(self.external_task_ids)
            n = ti.get_ti_count(dag_id=self.external_dag_id, task_ids=ids, logical_dates=dates, states=list(states))
            return n / len(ids)
        if self.external_task_group_id:
            found = ti.get_task_states(
                dag_id=self.external_dag_id, task_group_id=self.external_task_group_id, logical_dates=dates
            )
            return sum(bool(run) and all(state in states for state in run.values()) for run in found.values())
        return float(ti.get_dr_count(dag_id=self.external_dag_id, logical_dates=dates, states=list(states)))

    def _what(self) -> str:
        if self.external_task_ids:
            return f"task(s) {list(self.external_task_ids)}"
        if self.external_task_group_id:
            return f"task group {self.external_task_group_id!r}"
        return "run"

    def _check_existence(self, context: Any) -> None:
        try:
            context["ti"].get_dag(self.external_dag_id)
        except AirflowNotFoundException as error:
            raise ExternalDagNotFoundError(f"The external DAG {self.external_dag_id} does not exist.") from error
        self._existence_checked = True


def _states(states: Iterable[str] | None) -> list[str]:
    return [str(getattr(state, "value", state)) for state in states or ()]


def _check_states(states: list[str]) -> None:
    if len(set(states)) != len(states):
        raise DuplicateStateError(
            "Duplicate values provided across allowed_states, skipped_states and failed_states."
        )
    wrong = sorted(set(states) - _KNOWN)
    if wrong:
        raise ValueError(f"Valid values for the states of ExternalTaskSensor are {sorted(_KNOWN)}, not {wrong}")


class ExternalTaskMarker(EmptyOperator):
    """Says that a task of another DAG depends on this one: clearing this recursively clears that, too."""

    template_fields: Collection[str] = ("external_dag_id", "external_task_id", "logical_date")
    ui_color = "#4db7db"

    def __init__(
        self,
        *,
        external_dag_id: str,
        external_task_id: str,
        logical_date: str | dt.datetime | None = "{{ logical_date.isoformat() }}",
        recursion_depth: int = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if recursion_depth <= 0:
            raise ValueError("recursion_depth should be a positive integer")
        self.external_dag_id, self.external_task_id = external_dag_id, external_task_id
        self.logical_date = logical_date.isoformat() if isinstance(logical_date, dt.datetime) else logical_date
        self.recursion_depth = recursion_depth
