"""AsyncCallbacks of missed deadlines: errands that the triggerer's child runs among the triggers.

For `triggerer.service`, to which they look like triggers with negative numbers. What they log is kept with the errand.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.runs.errands import desk
from apps.runs.triggerer.firing import Outcome
from apps.runs.triggerer.rows import Job

CLASSPATH = "trackside.sdk.triggers_callback.CallbackTrigger"
NOBODY = UUID(int=0)
MOST_AT_ONCE = 200


class AsyncErrands:
    """Those of one triggerer."""

    def __init__(self) -> None:
        self.held: dict[int, Job] = {}
        self._output: dict[int, list[str]] = {}

    def take(self, process: UUID) -> set[int]:
        """Claim what waits; the numbers of all that are held."""
        for taken in desk.take(process, MOST_AT_ONCE - len(self.held), runs_in="triggerer"):
            number = -taken.errand.pk
            if "wrong" in taken.job:
                desk.finish(taken.errand.pk, ok=False, error=taken.job["wrong"])
                continue
            job = taken.job
            kwargs = {name: job.get(name) for name in ("path", "kwargs", "context", "dag_file")}
            run_id = (job.get("run") or {}).get("run_id")
            ti = {"dag_id": job.get("dag_id"), "run_id": run_id, "task_id": "", "map_index": -1, "try_number": 0}
            message: dict[str, Any] = {"do": "start", "id": number, "classpath": CLASSPATH, "kwargs": kwargs, "ti": ti, "dag_file": None}
            self.held[number] = Job(number, NOBODY, message)
        return set(self.held)

    def jobs(self, numbers: set[int]) -> list[Job]:
        """What is needed to start these."""
        return [job for number, job in self.held.items() if number in numbers]

    def log(self, number: int, line: dict[str, Any]) -> None:
        """A line one of them logged."""
        lines = self._output.setdefault(number, [])
        if len(lines) < 500:
            lines.append(str(line.get("event", "")))

    def finish(self, outcome: Outcome) -> None:
        """One has ended."""
        if self.held.pop(outcome.trigger_id, None) is None:
            return
        said = outcome.payload if isinstance(outcome.payload, dict) else {}
        error = outcome.error or said.get("error")
        output = "\n".join(self._output.pop(outcome.trigger_id, []))
        desk.finish(-outcome.trigger_id, ok=not error, error=error, output=output)
