"""DayOfWeekSensor: waits until it is one of the given days."""

from __future__ import annotations

import datetime as dt
from typing import Any

from trackside.sdk.operators.weekday import WeekDay
from trackside.sdk.sensor import BaseSensorOperator


class DayOfWeekSensor(BaseSensorOperator):
    """`week_day`: a name, a WeekDay, or several of them."""

    def __init__(
        self,
        *,
        week_day: Any,
        use_task_logical_date: bool = False,
        use_task_execution_day: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.week_day = week_day
        self.use_task_logical_date = use_task_logical_date or use_task_execution_day
        self._week_day_num = WeekDay.validate_week_day(week_day)

    def poke(self, context: Any) -> bool:
        """Whether today is such a day."""
        day = context["dag_run"].logical_date if self.use_task_logical_date else None
        return (day or dt.datetime.now(dt.UTC)).isoweekday() in self._week_day_num
