"""Timetable classes of the user's: asked for the next run in the process that has imported them.

For `child`. The server sends the interval of the last automated run along; the answer comes back with the specs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from trackside.core.timetables import DataInterval, Restriction


def is_custom(timetable: Any) -> bool:
    """Whether a stored timetable is, or wraps, a class of the user's."""
    if not isinstance(timetable, dict):
        return False
    return timetable.get("kind") == "custom" or is_custom(timetable.get("timetable"))


def next_run(dag: Any, spec: dict[str, Any], last: list[str] | None, now: datetime) -> dict[str, Any] | None:
    """What the DAG's timetable object plans after `last` ([start, end] in ISO); None: nothing."""
    timetable = dag.timetable
    interval = DataInterval(*map(datetime.fromisoformat, last)) if last else None
    bounds = Restriction(_moment(spec.get("start_date")), _moment(spec.get("end_date")), bool(spec.get("catchup")))
    if callable(getattr(timetable, "next_dagrun_info", None)):
        from trackside.sdk import timetables as authored  # type: ignore[attr-defined,unused-ignore]

        run = timetable.next_dagrun_info(
            last_automated_data_interval=authored.DataInterval(interval.start, interval.end) if interval else None,
            restriction=authored.TimeRestriction(bounds.earliest, bounds.latest, bounds.catchup),
        )
    else:
        run = timetable.next_run(last=interval, restriction=bounds, now=now)
    if run is None:
        return None
    data = run.data_interval
    return {
        "logical_date": _text(run.logical_date),
        "start": _text(data.start if data else None),
        "end": _text(data.end if data else None),
        "run_after": _text(run.run_after),
    }


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _text(moment: Any) -> str | None:
    return moment.isoformat() if moment is not None else None
