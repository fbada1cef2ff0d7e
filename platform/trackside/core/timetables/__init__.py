"""Timetables: when DAGs run, which interval each run is about, and how to say it in words.

Pure: no clock, no I/O. Start with `from_schedule` (what an author wrote) or `from_dict` (what was stored), then ask
`next_run`. Kinds live in `cron`, `delta` and `simple`; run ids in `run_ids`; the rules follow Airflow 3.3.2 and are
held by `platform/tests/test_timetables*.py`.
"""

from trackside.core.timetables.base import (
    DataInterval,
    InvalidSchedule,
    PlannedElsewhere,
    Restriction,
    RunInfo,
    Timetable,
)
from trackside.core.timetables.build import from_dict, from_schedule
from trackside.core.timetables.cron import CronInterval, CronTrigger, MultiCron
from trackside.core.timetables.cronexpr import PRESETS, CronExpression, parse_cron
from trackside.core.timetables.delta import DeltaInterval, DeltaTrigger
from trackside.core.timetables.preview import preview, schedule_in_words
from trackside.core.timetables.run_ids import InvalidRunId, generate_run_id, run_type_of, validate_run_id
from trackside.core.timetables.simple import Asset, AssetOrTime, Continuous, Custom, Events, Null, Once

__all__ = [
    "PRESETS",
    "Asset",
    "AssetOrTime",
    "Continuous",
    "CronExpression",
    "CronInterval",
    "CronTrigger",
    "Custom",
    "DataInterval",
    "DeltaInterval",
    "DeltaTrigger",
    "Events",
    "InvalidRunId",
    "InvalidSchedule",
    "MultiCron",
    "Null",
    "Once",
    "PlannedElsewhere",
    "Restriction",
    "RunInfo",
    "Timetable",
    "from_dict",
    "from_schedule",
    "generate_run_id",
    "parse_cron",
    "preview",
    "run_type_of",
    "schedule_in_words",
    "validate_run_id",
]
