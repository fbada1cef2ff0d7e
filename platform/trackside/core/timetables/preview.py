"""What comes next, for calendars and sentences on pages: planned moments without creating anything."""

from __future__ import annotations

from datetime import datetime

from trackside.core.timetables.base import DataInterval, PlannedElsewhere, Restriction, RunInfo, Timetable


def preview(
    timetable: Timetable,
    after: datetime,
    count: int,
    *,
    last: DataInterval | None = None,
    earliest: datetime | None = None,
    latest: datetime | None = None,
) -> list[RunInfo]:
    """The next `count` runs with `run_after` later than `after`, soonest first; fewer when the schedule ends.

    `last`, `earliest` and `latest` are the DAG's, as for `next_run`; schedules counted from the start date need them
    to be exact. Empty for schedules without planned moments: none, assets, `@continuous`, user code.
    """
    found: list[RunInfo] = []
    restriction = Restriction(earliest, latest, catchup=False)
    previous: datetime | None = None
    while len(found) < count:
        try:
            run = timetable.next_run(last=last, restriction=restriction, now=after)
        except PlannedElsewhere:
            break
        if run is None or (previous is not None and run.run_after <= previous):
            break
        if run.run_after > after:
            found.append(run)
        previous, last = run.run_after, run.data_interval
    return found


def schedule_in_words(timetable: Timetable) -> str:
    """The schedule as a phrase for people: `Every day at 06:00 (Europe/Paris)`."""
    return timetable.words
