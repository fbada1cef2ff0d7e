"""Run ids: how they are made and which ones a caller may choose (rule 2.004).

For the scheduler, the trigger API and backfills. Randomness comes in as `suffix`; nothing here draws it.
"""

from __future__ import annotations

import re
from datetime import datetime

from trackside.core.states import RunType
from trackside.core.timetables.zones import as_utc

ALLOWED_RUN_ID_PATTERN = r"^[A-Za-z0-9_.~:+-]+$"
"""Airflow's default of `[scheduler] allowed_run_id_pattern`."""
MAX_LENGTH = 250

_GENERATED = re.compile(r"^(?:manual|scheduled|asset_triggered)__\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+00:00$")


class InvalidRunId(ValueError):
    """The run id cannot be used; the message says why."""


def generate_run_id(
    run_type: RunType | str, run_after: datetime, logical_date: datetime | None = None, suffix: str | None = None
) -> str:
    """`<type>__<run_after>`, and `_<suffix>` behind it when the run has no logical date to make it unique.

    `suffix` is 8 or more random letters and digits; without a logical date it is required (ValueError).
    """
    run_id = f"{RunType(run_type).value}__{as_utc(run_after).isoformat()}"
    if logical_date is not None:
        return run_id
    if not suffix:
        raise ValueError("a run without a logical date needs a random suffix in its run id")
    return f"{run_id}_{suffix}"


def run_type_of(run_id: str) -> RunType:
    """The type a run id claims by its prefix; manual when it claims none."""
    for run_type in RunType:
        if run_id.startswith(f"{run_type.value}__"):
            return run_type
    return RunType.MANUAL


def validate_run_id(
    run_id: str, *, run_type: RunType | str = RunType.MANUAL, pattern: str = ALLOWED_RUN_ID_PATTERN
) -> str:
    """Give `run_id` back, or raise InvalidRunId saying what is wrong with it."""
    if not isinstance(run_id, str) or not run_id:
        raise InvalidRunId(f"The run ID must be text, not {run_id!r}")
    if len(run_id) > MAX_LENGTH:
        raise InvalidRunId(f"The run ID has {len(run_id)} characters, more than {MAX_LENGTH}")
    if ".." in run_id:
        raise InvalidRunId(f"The run ID '{run_id}' must not contain '..' to prevent path traversal")
    if not _GENERATED.match(run_id) and not (pattern and re.match(pattern, run_id)):
        raise InvalidRunId(
            f"The run ID provided '{run_id}' does not match regex pattern '{pattern}' or '{_GENERATED.pattern}'"
        )
    claimed = run_type_of(run_id)
    if RunType(run_type) is RunType.MANUAL and claimed is not RunType.MANUAL:
        raise InvalidRunId(f"A manual DAG run cannot use ID '{run_id}' since it is reserved for {claimed.value} runs")
    return run_id
