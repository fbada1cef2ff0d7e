"""Which slots a backfill covers, and what becomes of each: a new run, an old one again, or nothing. Shared by preview and
creation, so that what a preview shows is what is made (rows 2.081 to 2.085, partitions: 2.090)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from django.db.models import F

from apps.dags.models import Dag
from apps.runs.errands import asking
from apps.runs.errors import ActionRefused, Invalid
from apps.runs.models import Run
from trackside.core.spec import DagSpec
from trackside.core.states import RunState
from trackside.core.timetables import DataInterval, InvalidSchedule, PlannedElsewhere, Restriction, RunInfo, Timetable, from_dict
from trackside.core.timetables.partition import CronPartition

MOST = 10_000
"""Slots of one backfill."""
_TOO_MANY = f"More than {MOST:,} runs lie between these dates. Choose a shorter range."

_AGAIN: dict[str, frozenset[str]] = {
    "none": frozenset(),
    "failed": frozenset({RunState.FAILED}),
    "completed": frozenset({RunState.FAILED, RunState.SUCCESS}),
}


@dataclass(slots=True)
class Slot:
    """One planned run, and the run that is there already."""

    info: RunInfo
    existing: Run | None = None
    partition_key: str | None = None
    partition_date: datetime | None = None


def check(dag: Dag, spec: DagSpec, from_date: datetime, to_date: datetime, reprocess: str, *, backwards: bool, now: datetime) -> None:
    """Refuse what cannot be backfilled, naming the field."""
    try:
        periodic = from_dict(dag.timetable).periodic
    except InvalidSchedule:
        periodic = False
    if not periodic:
        raise Invalid(f"{dag.dag_id} has no schedule with regular slots, so there is nothing to backfill.")
    if spec.allowed_run_types is not None and "backfill" not in spec.allowed_run_types:
        raise ActionRefused(f"Dag with dag_id: '{dag.dag_id}' does not allow backfill runs")
    if from_date > to_date:
        raise Invalid("from_date must not be later than to_date.")
    if from_date > now:
        raise Invalid("Backfill cannot be executed for future dates.")
    if any(task.depends_on_past for task in spec.tasks):
        if backwards:
            raise Invalid("Backfill cannot be run in reverse when the DAG has tasks where depends_on_past=True.")
        if reprocess == "none":
            raise Invalid("The DAG has tasks where depends_on_past=True: choose the reprocess behavior failed or completed.")


def planned(dag: Dag, from_date: datetime, to_date: datetime, now: datetime) -> list[Slot]:
    """Slots between the dates (both included), oldest first: those whose interval is over, or all partitions."""
    timetable = from_dict(dag.timetable)
    if isinstance(timetable, CronPartition):
        return _partitions(timetable, from_date, to_date)
    return [Slot(info) for info in _intervals(dag, timetable, from_date, to_date, now)]


def _partitions(timetable: CronPartition, from_date: datetime, to_date: datetime) -> list[Slot]:
    try:
        dates = list(islice(timetable.dates_between(from_date, to_date), MOST + 1))
    except (OverflowError, ValueError) as e:
        raise Invalid(f"The schedule cannot be computed between these dates: {e}") from e
    if len(dates) > MOST:
        raise Invalid(_TOO_MANY)
    return [Slot(RunInfo(None, None, date), partition_key=timetable.key_of(date), partition_date=date) for date in dates]


def _intervals(dag: Dag, timetable: Timetable, from_date: datetime, to_date: datetime, now: datetime) -> list[RunInfo]:
    restriction = Restriction(from_date, to_date, True)
    slots: list[RunInfo] = []
    last = None
    try:
        while (info := timetable.next_run(last=last, restriction=restriction, now=now)) is not None:
            interval = info.data_interval
            if info.logical_date is None or interval is None or interval.end >= now or (last is not None and interval.end <= last.end):
                break
            if len(slots) == MOST:
                raise Invalid(_TOO_MANY)
            slots.append(info)
            last = interval
    except PlannedElsewhere:
        return _asked(dag, from_date, to_date)
    except (OverflowError, ValueError) as e:
        raise Invalid(f"The schedule cannot be computed between these dates: {e}") from e
    return slots


def _asked(dag: Dag, from_date: datetime, to_date: datetime) -> list[RunInfo]:
    """Slots of an own timetable, asked in a callback process."""
    dates = {"from": from_date.isoformat(), "to": to_date.isoformat()}
    said = asking.ask("slots", "The timetable", dates, dag_id=dag.dag_id)
    if len(said) > MOST:
        raise Invalid(_TOO_MANY)
    at = datetime.fromisoformat
    return [
        RunInfo(run_after=at(s["run_after"]), data_interval=DataInterval(at(s["start"]), at(s["end"])), logical_date=at(s["logical_date"]))
        for s in said
    ]


def chosen(dag: Dag, slots: Sequence[Slot], reprocess: str) -> list[Slot]:
    """The slots for which something is to be done. Runs that are queued or running are always left alone."""
    partitioned = any(s.partition_date is not None for s in slots)
    existing = _by_partition(dag, slots) if partitioned else _by_logical_date(dag, slots)
    for slot in slots:
        slot.existing = existing.get(slot.partition_date if partitioned else slot.info.logical_date)
    return [s for s in slots if s.existing is None or s.existing.state in _AGAIN[reprocess]]


def _by_logical_date(dag: Dag, slots: Sequence[Slot]) -> dict[datetime | None, Run]:
    dates = [s.info.logical_date for s in slots]
    return {run.logical_date: run for run in Run.objects.filter(dag=dag, logical_date__in=dates).defer("conf", "note")}


def _by_partition(dag: Dag, slots: Sequence[Slot]) -> dict[datetime | None, Run]:
    """A partition may have any number of runs: the one that is still open, else the one that started last, speaks for it."""
    runs = Run.objects.filter(dag=dag, partition_date__in=[s.partition_date for s in slots]).defer("conf", "note")
    ordered = runs.order_by(F("start_date").asc(nulls_first=True), "pk")
    return {run.partition_date: run for run in sorted(ordered, key=lambda run: run.state in (RunState.QUEUED, RunState.RUNNING))}
