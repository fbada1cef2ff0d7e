"""User code that the server wants run outside of tries: callbacks, listeners, timetables, plugins' descriptions.

Runs in a child of the parse server (`trackside.runner.parsing.child`), one process per errand, with a time limit and no way
to the database; `run(job, settings)` is its entry. What a job holds is written by `apps.runs.errands`.

* `jobs` – one function per kind of job · `output` – what it prints, secrets hidden · `parts` – contexts and files
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trackside.runner.parsing.settings import ParseSettings


def run(job: dict[str, Any], settings: ParseSettings) -> dict[str, Any]:
    """Do one errand: {"ok", "value", "error", "failed"}; never raises. See `jobs`."""
    from trackside.runner.errands import jobs

    return jobs.run(job, settings)
