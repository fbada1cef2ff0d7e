"""TimeSensor: waits until a time of the day on which the try starts."""

from __future__ import annotations

import datetime as dt
from typing import Any

from trackside.sdk.sensor import BaseSensorOperator
from trackside.sdk.triggers_standard import DateTimeTrigger


class TimeSensor(BaseSensorOperator):
    """`target_time`: a time of day, in the DAG's zone unless it has one."""

    def __init__(
        self, *, target_time: dt.time, deferrable: bool = False, end_from_trigger: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.target_time = target_time
        self.deferrable, self.end_from_trigger = deferrable, end_from_trigger

    @property
    def target_datetime(self) -> dt.datetime:
        """Today's moment in UTC."""
        dag = self.get_dag()
        zone = self.target_time.tzinfo or getattr(dag, "timezone", None) or dt.UTC
        today = dt.datetime.now(zone).date()
        return dt.datetime.combine(today, self.target_time.replace(tzinfo=None), tzinfo=zone).astimezone(dt.UTC)

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
