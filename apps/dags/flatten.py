"""A spec as columns of `Dag`: what lists, filters and the scheduler read without opening the JSON.

For `storing`. Pure apart from nothing: the clock and the database are elsewhere.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from trackside.core.spec import DagSpec
from trackside.core.timetables import from_dict

TIMETABLE_TYPES = {
    "null": "airflow.timetables.simple.NullTimetable",
    "once": "airflow.timetables.simple.OnceTimetable",
    "continuous": "airflow.timetables.simple.ContinuousTimetable",
    "asset": "airflow.timetables.simple.AssetTriggeredTimetable",
    "cron_trigger": "airflow.timetables.trigger.CronTriggerTimetable",
    "multi_cron": "airflow.timetables.trigger.MultipleCronTriggerTimetable",
    "delta_trigger": "airflow.timetables.trigger.DeltaTriggerTimetable",
    "cron_interval": "airflow.timetables.interval.CronDataIntervalTimetable",
    "delta_interval": "airflow.timetables.interval.DeltaDataIntervalTimetable",
    "events": "airflow.timetables.events.EventsTimetable",
    "asset_or_time": "airflow.timetables.assets.AssetOrTimeSchedule",
}
"""Kind → class path that clients filter by (`timetable_type`)."""

SCHEDULE_COLUMNS = ("timetable", "start_date", "end_date", "catchup")
"""A change in one of these moves the next run."""


def columns(spec: DagSpec) -> dict[str, Any]:
    """Values of the flattened columns. Raises ValueError (InvalidSchedule among them) saying what cannot be used."""
    timetable = from_dict(spec.timetable)
    limit = timetable.active_runs_limit
    kind = str(spec.timetable.get("kind"))
    return {
        "dag_display_name": spec.dag_display_name or spec.dag_id,
        "fileloc": spec.fileloc,
        "relative_fileloc": spec.relative_fileloc,
        "description": spec.description,
        "owners": spec.owners,
        "timetable": spec.timetable,
        "timetable_summary": timetable.summary,
        "timetable_description": timetable.description,
        "timetable_type": TIMETABLE_TYPES.get(kind) or str(spec.timetable.get("classpath", kind)),
        "timezone": spec.timezone,
        "start_date": moment(spec.start_date, "start_date"),
        "end_date": moment(spec.end_date, "end_date"),
        "catchup": spec.catchup,
        "max_active_runs": min(spec.max_active_runs, limit) if limit else spec.max_active_runs,
        "max_active_tasks": spec.max_active_tasks,
        "max_consecutive_failed_dag_runs": spec.max_consecutive_failed_dag_runs,
        "has_task_concurrency_limits": any(
            t.max_active_tis_per_dag is not None or t.max_active_tis_per_dagrun is not None for t in spec.tasks
        ),
        "dagrun_timeout": spec.dagrun_timeout,
        "fail_fast": spec.fail_fast,
    }


def moment(text: str | None, what: str) -> datetime | None:
    """An ISO 8601 moment in UTC. Raises ValueError naming `what`."""
    if text is None:
        return None
    try:
        value = datetime.fromisoformat(text)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise ValueError(f"{what}: {text!r} is not a moment between the years 1 and 9999") from e
