"""LatestOnlyOperator: what follows is skipped unless this is the run of now."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from trackside.sdk.execution.records import DagRunType
from trackside.sdk.operators.branch import BaseBranchOperator


class LatestOnlyOperator(BaseBranchOperator):
    """Skips the tasks directly after it in runs whose interval is over; runs started by hand always go on."""

    ui_color = "#e9ffdb"

    def choose_branch(self, context: Any) -> str | Iterable[str]:
        """See the class."""
        run = context["dag_run"]
        everything = list(context["task"].get_direct_relative_ids(upstream=False))
        if run.run_type == DagRunType.MANUAL:
            self.log.info("Manually triggered DAG_Run: allowing execution to proceed.")
            return everything
        start, end = _window(context["dag"], run)
        now = datetime.now(UTC)
        self.log.info("Checking latest only with left_window: %s right_window: %s now: %s", start, end, now)
        if end is not None and start is not None and not start < now <= end:
            self.log.info("Not latest execution, skipping downstream.")
            return []
        self.log.info("Latest, allowing execution to proceed.")
        return everything


def _window(dag: Any, run: Any) -> tuple[datetime | None, datetime | None]:
    """From the end of the run's own interval to the time of the run after it; None where that cannot be told."""
    from trackside.core.timetables import from_dict
    from trackside.core.timetables.base import DataInterval, PlannedElsewhere, Restriction

    start, end = _plain(run.data_interval_start or run.run_after), _plain(run.data_interval_end or run.run_after)
    if start is None or end is None:
        return None, None
    timetable = from_dict(dag.timetable.to_spec())
    try:
        following = timetable.next_run(
            last=DataInterval(start, end), restriction=Restriction(None, None, True), now=datetime.now(UTC)
        )
    except PlannedElsewhere:
        return end, _asked(dag.timetable, start, end)
    return end, following.run_after if following is not None else None


def _asked(timetable: Any, start: datetime, end: datetime) -> datetime | None:
    """When an own timetable plans the next run; it is the object itself that is here, in the task's process."""
    from trackside.sdk.execution.records import moment
    from trackside.sdk.timetables import DagRunInfo, DataInterval, TimeRestriction

    own = timetable if hasattr(timetable, "next_dagrun_info") else getattr(timetable, "timetable", timetable)
    interval = DataInterval(moment(start), moment(end))  # type: ignore[arg-type]  # moments of moments
    following = own.next_dagrun_info_v2(
        last_dagrun_info=DagRunInfo(interval.end, interval), restriction=TimeRestriction(None, None, True)
    )
    return _plain(following.run_after) if following is not None else None


def _plain(moment: datetime | None) -> datetime | None:
    """The standard library's datetime: timetables calculate with it, and pendulum's does not survive `datetime.combine` and the like."""
    return None if moment is None else datetime.fromtimestamp(moment.timestamp(), UTC)
