"""TimeSensor: waits until a time of the day on which the try starts."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Any

from trackside.sdk.arguments import DEFAULT_DEFERRABLE
from trackside.sdk.sensor import BaseSensorOperator
from trackside.sdk.triggers import StartTriggerArgs
from trackside.sdk.triggers_standard import DateTimeTrigger


class TimeSensor(BaseSensorOperator):
    """`target_time`: a time of day in the DAG's zone."""

    start_from_trigger = False

    def __init__(
        self,
        *,
        target_time: dt.time,
        deferrable: bool = DEFAULT_DEFERRABLE,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        trigger_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target_time = target_time
        self.deferrable, self.end_from_trigger = deferrable, end_from_trigger
        self.start_from_trigger = start_from_trigger
        if start_from_trigger:
            self.start_trigger_args = StartTriggerArgs(
                trigger_cls="airflow.providers.standard.triggers.temporal.DateTimeTrigger",
                trigger_kwargs={"moment": self._today(), "end_from_trigger": end_from_trigger},
                next_method="execute_complete",
            )

    @cached_property
    def target_datetime(self) -> dt.datetime:
        """The moment in UTC; worked out once per try, so that a wait over midnight ends."""
        return self._today()

    def _today(self) -> dt.datetime:
        zone = getattr(self.get_dag(), "timezone", None) or dt.UTC
        today = dt.datetime.now(zone).date()
        return dt.datetime.combine(today, self.target_time, tzinfo=zone).astimezone(dt.UTC)

    def poke(self, context: Any) -> bool:
        """Whether it is later than that."""
        return dt.datetime.now(dt.UTC) > self.target_datetime

    def execute(self, context: Any) -> None:
        """Wait here, or in the triggerer."""
        if not self.deferrable:
            super().execute(context)
            return
        trigger = DateTimeTrigger(self.target_datetime, end_from_trigger=self.end_from_trigger)
        self.defer(trigger=trigger, method_name="execute_complete")

    def execute_complete(self, context: Any, event: Any = None) -> None:
        """The time has come."""


class TimeSensorAsync(TimeSensor):
    """The same, waiting in the triggerer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "deferrable": True})
