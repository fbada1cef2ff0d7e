"""DateTimeSensor: waits until a moment."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any

from trackside.sdk.sensor import BaseSensorOperator
from trackside.sdk.triggers import StartTriggerArgs
from trackside.sdk.triggers_standard import DateTimeTrigger


class DateTimeSensor(BaseSensorOperator):
    """`target_time`: an aware datetime, or (templated) text of one."""

    template_fields: Collection[str] = ("target_time",)

    def __init__(self, *, target_time: str | dt.datetime, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(target_time, dt.datetime):
            self.target_time = target_time.isoformat()
        elif isinstance(target_time, str):
            self.target_time = target_time
        else:
            raise TypeError(f"Expected str or datetime.datetime type for target_time. Got {type(target_time)}")

    @property
    def moment(self) -> dt.datetime:
        """The moment as a datetime."""
        import pendulum

        found = pendulum.parse(self.target_time, strict=False)
        assert isinstance(found, dt.datetime), f"{self.target_time!r} is not a date and time"
        return found

    def poke(self, context: Any) -> bool:
        """Whether it is later than that."""
        self.log.info("Checking if the time (%s) has come", self.target_time)
        return dt.datetime.now(dt.UTC) > self.moment


class DateTimeSensorAsync(DateTimeSensor):
    """The same, waiting in the triggerer."""

    start_trigger_args = StartTriggerArgs(
        trigger_cls="airflow.providers.standard.triggers.temporal.DateTimeTrigger",
        trigger_kwargs={"moment": "", "end_from_trigger": False},
        next_method="execute_complete",
    )
    start_from_trigger = False

    def __init__(
        self,
        *,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        trigger_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.end_from_trigger = end_from_trigger
        self.start_from_trigger = start_from_trigger
        if start_from_trigger:
            self.start_trigger_args = StartTriggerArgs(
                trigger_cls="airflow.providers.standard.triggers.temporal.DateTimeTrigger",
                trigger_kwargs={"moment": self.moment, "end_from_trigger": end_from_trigger},
                next_method="execute_complete",
            )

    def execute(self, context: Any) -> None:
        """Wait in the triggerer."""
        self.defer(
            trigger=DateTimeTrigger(self.moment, end_from_trigger=self.end_from_trigger), method_name="execute_complete"
        )

    def execute_complete(self, context: Any, event: Any = None) -> None:
        """The moment has come."""
