"""TimeDeltaSensor and WaitSensor: wait for a span of time."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Collection
from typing import Any

from trackside.sdk.arguments import DEFAULT_DEFERRABLE
from trackside.sdk.exceptions import AirflowSkipException
from trackside.sdk.sensor import BaseSensorOperator
from trackside.sdk.triggers_standard import DateTimeTrigger


class TimeDeltaSensor(BaseSensorOperator):
    """Waits until `delta` (timedelta or minutes) after the end of the run's data interval (without one: after `run_after`)."""

    template_fields: Collection[str] = ("delta",)

    def __init__(
        self, *, delta: dt.timedelta | int, deferrable: bool = DEFAULT_DEFERRABLE, end_from_trigger: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.delta, self.deferrable, self.end_from_trigger = delta, deferrable, end_from_trigger

    def _target(self, context: Any) -> dt.datetime:
        run = context["dag_run"]
        base = run.data_interval_end or run.run_after
        return base + _span(self.delta)

    def poke(self, context: Any) -> bool:
        """Whether it is later than that."""
        target = self._target(context)
        self.log.info("Checking if the delta has elapsed target_dttm=%s", target)
        return dt.datetime.now(dt.UTC) > target

    def execute(self, context: Any) -> None:
        """Wait here, or in the triggerer."""
        if not self.deferrable:
            super().execute(context)
            return
        target = self._target(context)
        if dt.datetime.now(dt.UTC) > target:
            return
        try:
            trigger = DateTimeTrigger(target, end_from_trigger=self.end_from_trigger)
        except (TypeError, ValueError) as error:
            if self.soft_fail:
                raise AirflowSkipException("Skipping due to soft_fail is set to True.") from error
            raise
        self.defer(trigger=trigger, method_name="execute_complete", timeout=self.timeout)

    def execute_complete(self, context: Any, event: Any = None) -> None:
        """The time has passed."""


class TimeDeltaSensorAsync(TimeDeltaSensor):
    """The same, waiting in the triggerer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "deferrable": True})


class WaitSensor(BaseSensorOperator):
    """Waits `time_to_wait` (timedelta or minutes) from its start."""

    template_fields: Collection[str] = ("time_to_wait",)

    def __init__(self, *, time_to_wait: dt.timedelta | int, deferrable: bool = DEFAULT_DEFERRABLE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.time_to_wait = time_to_wait

    def execute(self, context: Any) -> None:
        """Wait here, or in the triggerer."""
        if self.deferrable:
            moment = dt.datetime.now(dt.UTC) + _span(self.time_to_wait)
            self.defer(trigger=DateTimeTrigger(moment, end_from_trigger=True), method_name="execute_complete")
        time.sleep(_span(self.time_to_wait).total_seconds())

    def execute_complete(self, context: Any, event: Any = None) -> None:
        """The time has passed."""


def _span(value: Any) -> dt.timedelta:
    """A timedelta; numbers (also what a template rendered) are minutes."""
    return value if isinstance(value, dt.timedelta) else dt.timedelta(minutes=int(value))
