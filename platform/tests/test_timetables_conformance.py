"""Timetables answer as Airflow 3.3.2 does, case by case.

The cases are a file of recorded answers: `TRACKSIDE_TIMETABLES=path/to/timetables.json`, by default
`../shared/conformance/timetables.json` next to the repository.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trackside.core.timetables import Restriction, from_dict

REPOSITORY = Path(__file__).resolve().parents[2]
CASES_FILE = Path(
    os.environ.get("TRACKSIDE_TIMETABLES") or REPOSITORY.parent / "shared" / "conformance" / "timetables.json"
)
CASES: list[dict[str, Any]] = json.loads(CASES_FILE.read_text()) if CASES_FILE.is_file() else []
ANSWERS_PER_CASE = 12


def moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def answers(case: dict[str, Any]) -> list[list[str]]:
    """The answers to a case, each asked for with the interval of the one before."""
    timetable = from_dict(case["timetable"])
    restriction = Restriction(moment(case["start"]), moment(case["end"]), case["catchup"])
    now, last, given = datetime.fromisoformat(case["now"]), None, []
    while len(given) < ANSWERS_PER_CASE:
        run = timetable.next_run(last=last, restriction=restriction, now=now)
        if run is None:
            break
        assert run.logical_date is not None
        assert run.data_interval is not None
        moments = (run.logical_date, run.data_interval.start, run.data_interval.end, run.run_after)
        given.append([m.isoformat().replace("+00:00", "Z") for m in moments])
        last = run.data_interval
        now += timedelta(seconds=case["now_step_s"])
    return given


@pytest.mark.skipif(not CASES, reason=f"no cases at {CASES_FILE}: set TRACKSIDE_TIMETABLES to a timetables.json")
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_timetable_answers_as_airflow_does(case: dict[str, Any]) -> None:
    assert answers(case) == case["expect"], f"{case['airflow']} from {case['start']} catchup={case['catchup']}"


@pytest.mark.skipif(not CASES, reason=f"no cases at {CASES_FILE}: set TRACKSIDE_TIMETABLES to a timetables.json")
def test_every_recorded_timetable_survives_being_stored() -> None:
    for case in CASES:
        timetable = from_dict(case["timetable"])
        stored = json.loads(json.dumps(timetable.to_dict()))
        assert from_dict(stored) == timetable, case["id"]
