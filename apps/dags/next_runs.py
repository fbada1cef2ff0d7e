"""When a DAG runs next: the `next_*` columns from its timetable.

For `storing` (a new schedule), `catalogue.set_paused` (unpausing) and the scheduler (after creating a run). Timetable
classes of the user's cannot be asked here: their answer comes with the next parse of their file, which is requested.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from apps.dags import flatten
from apps.dags.models import Dag, DagFile
from trackside.core.timetables import DataInterval, PlannedElsewhere, Restriction, RunInfo, from_dict

logger = logging.getLogger(__name__)

NEXT_COLUMNS = ("next_logical_date", "next_interval_start", "next_interval_end", "next_run_after", "next_run_id")


def next_run_fields(dag: Dag, last: DataInterval | None, now: datetime) -> dict[str, datetime | None]:
    """Values for the `next_*` columns, all None when nothing comes by time.

    `last`: interval of the newest automated run. Raises PlannedElsewhere for timetable classes of the user's.
    """
    restriction = Restriction(dag.start_date, dag.end_date, dag.catchup)
    try:
        return _fields(from_dict(dag.timetable).next_run(last=last, restriction=restriction, now=now))
    except PlannedElsewhere:
        raise
    except (ValueError, OverflowError, ArithmeticError):
        # a schedule that cannot be computed must not stop its neighbours; the DAG shows no next run
        logger.exception("no next run for DAG %s", dag.dag_id)
        return _fields(None)


def schedule_next(dag: Dag, last: DataInterval | None, now: datetime, *, ask: bool = True) -> dict[str, datetime | None]:
    """Set the `next_*` attributes of `dag` (the caller saves them: `NEXT_COLUMNS`) and return them.

    `ask`: a timetable class of the user's is asked by the next parse of its file (writes that request); a preview does not.
    """
    try:
        fields = next_run_fields(dag, last, now)
    except PlannedElsewhere:
        fields = _fields(None)
        if ask and dag.file_id:
            DagFile.objects.filter(pk=dag.file_id).update(reparse_requested_at=now)
    for name, value in fields.items():
        setattr(dag, name, value)
    return fields


def set_planned(dag: Dag, planned: dict[str, Any] | None) -> None:
    """Set the `next_*` attributes from what the parse answered for a timetable class of the user's."""
    answer = planned or {}
    for name, key in zip(NEXT_COLUMNS, ("logical_date", "start", "end", "run_after"), strict=False):
        setattr(dag, name, flatten.moment(answer.get(key), key))
    dag.next_run_id = answer.get("run_id")


def _fields(run: RunInfo | None) -> dict[str, datetime | None]:
    interval = run.data_interval if run else None
    values = (
        run.logical_date if run else None,
        interval.start if interval else None,
        interval.end if interval else None,
        run.run_after if run else None,
        None,  # only timetables of the user's name their runs
    )
    return dict(zip(NEXT_COLUMNS, values, strict=True))
