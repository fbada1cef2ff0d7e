"""Timetable classes of the user's: asked for the next run in the process that has imported them.

For `child`. The server sends the interval of the last automated run along; the answer comes back with the specs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from trackside.core.timetables import DataInterval, Restriction, validate_run_id
from trackside.sdk.execution.records import DagRunType, moment


def is_custom(timetable: Any) -> bool:
    """Whether a stored timetable is, or wraps, a class of the user's."""
    if not isinstance(timetable, dict):
        return False
    return timetable.get("kind") == "custom" or is_custom(timetable.get("timetable"))


def asked(timetable: Any) -> Any:
    """The object to ask: the clock of one that waits for assets too."""
    inner = getattr(timetable, "timetable", None)
    return inner if inner is not None and not hasattr(timetable, "next_dagrun_info") else timetable


def next_run(dag: Any, spec: dict[str, Any], last: list[str] | None, now: datetime) -> dict[str, Any] | None:
    """What the DAG's timetable object plans after `last` ([start, end] in ISO); None: nothing."""
    timetable = asked(dag.timetable)
    if callable(getattr(timetable, "next_dagrun_info", None)) or callable(getattr(timetable, "next_dagrun_info_v2", None)):
        run = _authored(timetable, spec, last)
    else:
        interval = DataInterval(*map(datetime.fromisoformat, last)) if last else None
        bounds = Restriction(moment(spec.get("start_date")), moment(spec.get("end_date")), bool(spec.get("catchup")))
        run = timetable.next_run(last=interval, restriction=bounds, now=now)
    if run is None:
        return None
    data = run.data_interval
    planned: dict[str, Any] = {
        "logical_date": _text(run.logical_date),
        "start": _text(data.start if data else None),
        "end": _text(data.end if data else None),
        "run_after": _text(run.run_after),
    }
    if getattr(timetable, "names_runs", False):
        planned["run_id"] = run_id(timetable, "scheduled", run.run_after, data)
    return planned


def _authored(timetable: Any, spec: dict[str, Any], last: list[str] | None) -> Any:
    """What a subclass of `airflow.timetables.base.Timetable` says; its moments are pendulum's, as in Airflow."""
    from trackside.sdk import timetables as authored  # type: ignore[attr-defined,unused-ignore]

    interval = authored.DataInterval(*(moment(text) for text in last)) if last else None  # type: ignore[arg-type]  # moments of texts
    return timetable.next_dagrun_info_v2(
        last_dagrun_info=authored.DagRunInfo(interval.end, interval) if interval else None,
        restriction=authored.TimeRestriction(moment(spec.get("start_date")), moment(spec.get("end_date")), bool(spec.get("catchup"))),
    )


def run_id(timetable: Any, run_type: str, run_after: Any, interval: Any) -> str:
    """The id an own timetable gives a run. Raises TypeError for what is no text, InvalidRunId for one that cannot be used."""
    found = timetable.generate_run_id(run_type=DagRunType(run_type), run_after=run_after, data_interval=interval)
    if not isinstance(found, str):
        raise TypeError(f"{type(timetable).__name__}.generate_run_id gave {found!r}; it must give the run's id as a text")
    return validate_run_id(found, run_type=run_type)


def _text(at: Any) -> str | None:
    return at.isoformat() if at is not None else None
