"""Runs tasks of DAG files in this process, for the tests of `sdk/execution`: load, order, run, read the report."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trackside.core.messages import FinishReport, StartOrder, XComRecord
from trackside.sdk import serde
from trackside.sdk.execution.comms import MemoryComms
from trackside.sdk.execution.run import run_task
from trackside.sdk.parsing import load_file

RUN = {"run_type": "manual", "run_after": "2024-03-09T22:15:30+00:00", "conf": {}}


@dataclass
class Harness:
    """One DAG and one run of it."""

    dag: Any
    comms: MemoryComms = field(default_factory=MemoryComms)
    run: dict[str, Any] = field(default_factory=dict)
    reports: dict[tuple[str, int], FinishReport] = field(default_factory=dict)

    def attempt(self, task_id: str, map_index: int = -1, **order: Any) -> FinishReport:
        """Run one try and keep what it published."""
        run = {"dag_id": self.dag.dag_id, "run_id": "r1", **RUN, **self.run}
        task = self.dag.get_task(task_id)
        found = [r.to_dict() for r in self.comms.xcoms.values() if r.key == "return_value"]
        wanted = StartOrder(
            try_id=f"try-{task_id}-{map_index}",
            token="t",
            dag_id=self.dag.dag_id,
            task_id=task_id,
            map_index=map_index,
            run=run,
            xcoms=[r for r in found if r["task_id"] in task.upstream_task_ids],
            **order,
        )
        self.comms.serve(wanted)
        report = run_task(wanted, task, self.dag, self.comms)
        self.comms.store(report.xcoms)
        self.reports[(task_id, map_index)] = report
        return report

    def attempt_all(self, **order: Any) -> dict[str, str]:
        """Every task once, in order, whatever the others did; its outcomes."""
        ids = [task.task_id for task in self.dag.topological_sort()]
        return {task_id: self.attempt(task_id, **order).outcome for task_id in ids}

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """A published value as a consumer gets it."""
        return serde.deserialize(self.record(task_id, key, map_index).value)

    def record(self, task_id: str, key: str = "return_value", map_index: int = -1) -> XComRecord:
        """A published value as the server has it."""
        run_id = self.run.get("run_id", "r1")
        return self.comms.xcoms[(self.dag.dag_id, run_id, task_id, map_index, key)]

    def rendered(self, task_id: str) -> dict[str, Any]:
        """The last rendered fields of a task."""
        report = self.reports[(task_id, -1)]
        if report.rendered_fields is not None:
            return report.rendered_fields
        return [u for u in self.comms.updates if "rendered_fields" in u][-1]["rendered_fields"]


def dag_of(tmp_path: Path, source: str, dag_id: str | None = None) -> Any:
    """The DAG that the text of a file describes."""
    path = tmp_path / "file.py"
    path.write_text(textwrap.dedent(source))
    loaded = load_file(path)
    assert not loaded.errors, loaded.errors[0]
    return loaded.dags[0] if dag_id is None else loaded.get_dag(dag_id)


def harness(tmp_path: Path, source: str, dag_id: str | None = None, **run: Any) -> Harness:
    """`dag_of` ready to run; `run` are fields of the RunRecord."""
    return Harness(dag_of(tmp_path, source, dag_id), run=run)
