"""Operators that choose where to go on: the base class, by date and time, by day of the week.

Next door: `python.py` has the ones that ask a function, `skipping.py` the rules.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, ClassVar

from trackside.sdk.exceptions import AirflowException
from trackside.sdk.operator import BaseOperator
from trackside.sdk.operators.skipping import BranchMixIn
from trackside.sdk.operators.weekday import WeekDay


class BaseBranchOperator(BaseOperator, BranchMixIn):
    """Override `choose_branch(context)`: the ids of the tasks or groups to follow (None: none)."""

    _skips: ClassVar[str | None] = "branch"
    inherits_from_skipmixin = True

    def choose_branch(self, context: Any) -> str | Iterable[str] | None:
        """Ids to follow."""
        raise NotImplementedError

    def execute(self, context: Any) -> Any:
        """Choose, then follow."""
        return self.do_branch(context, self.choose_branch(context))


class BranchDateTimeOperator(BaseBranchOperator):
    """Follows one branch if now (or the logical date) lies between two moments or times of day, else the other.

    Both bounds are of the same kind; times of day cross midnight when the upper one is earlier.
    """

    def __init__(
        self,
        *,
        follow_task_ids_if_true: str | Iterable[str],
        follow_task_ids_if_false: str | Iterable[str],
        target_lower: dt.datetime | dt.time | None,
        target_upper: dt.datetime | dt.time | None,
        use_task_logical_date: bool = False,
        use_task_execution_date: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if target_lower is None and target_upper is None:
            raise AirflowException(
                "Both target_upper and target_lower are None. At least one must be defined to be compared to the "
                "current datetime"
            )
        self.target_lower, self.target_upper = target_lower, target_upper
        self.follow_task_ids_if_true, self.follow_task_ids_if_false = follow_task_ids_if_true, follow_task_ids_if_false
        self.use_task_logical_date = use_task_logical_date or use_task_execution_date

    def choose_branch(self, context: Any) -> str | Iterable[str]:
        """See the class."""
        now = _now(context, self.use_task_logical_date)
        lower, upper = _bounds(now, self.target_lower, self.target_upper)
        inside = (lower is None or lower <= now) and (upper is None or now <= upper)
        return self.follow_task_ids_if_true if inside else self.follow_task_ids_if_false


def _now(context: Any, use_logical_date: bool) -> dt.datetime:
    if use_logical_date:
        day = context["dag_run"].logical_date
        if day is not None:
            return day
    return dt.datetime.now(dt.UTC)


def _bounds(now: dt.datetime, lower: Any, upper: Any) -> tuple[dt.datetime | None, dt.datetime | None]:
    one = _moment(now, lower)
    two = _moment(now, upper)
    if one is not None and two is not None and two < one and isinstance(upper, dt.time):
        two += dt.timedelta(days=1)
    return one, two


def _moment(now: dt.datetime, target: Any) -> dt.datetime | None:
    if isinstance(target, dt.time) and not isinstance(target, dt.datetime):
        target = dt.datetime.combine(now.date(), target)
    if target is not None and target.tzinfo is None:
        target = target.replace(tzinfo=dt.UTC)
    return target


class BranchDayOfWeekOperator(BaseBranchOperator):
    """Follows one branch on the given days of the week, else the other."""

    def __init__(
        self,
        *,
        follow_task_ids_if_true: str | Iterable[str],
        follow_task_ids_if_false: str | Iterable[str],
        week_day: str | WeekDay | Iterable[str] | Iterable[WeekDay],
        use_task_logical_date: bool = False,
        use_task_execution_day: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.follow_task_ids_if_true, self.follow_task_ids_if_false = follow_task_ids_if_true, follow_task_ids_if_false
        self.week_day = week_day
        self.use_task_logical_date = use_task_logical_date or use_task_execution_day
        self._week_day_num = WeekDay.validate_week_day(week_day)

    def choose_branch(self, context: Any) -> str | Iterable[str]:
        """See the class."""
        today = _now(context, self.use_task_logical_date).isoweekday()
        return self.follow_task_ids_if_true if today in self._week_day_num else self.follow_task_ids_if_false
