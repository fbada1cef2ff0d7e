"""REST: taking the partition from runs. Runs are chosen and run again by partition in `clearing.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import model_validator

from apps.access.rest.body import Body
from apps.access.rest.operations import Call, operation
from apps.dags.api.lookups import the_dag
from apps.runs.api.clearing import runs_of_partitions
from apps.runs.api.lookups import run_rows

_SCHEMA = {
    "type": "object",
    "properties": {
        "dag_runs_cleared": {"type": "integer"},
        "task_instances_cleared": {"type": "integer"},
        "dry_run": {"type": "boolean"},
    },
    "required": ["dag_runs_cleared", "task_instances_cleared", "dry_run"],
}


class ClearPartitionsBody(Body):
    """Which runs: one by its id, or those of a key or of days."""

    run_id: str | None = None
    partition_key: str | None = None
    partition_date_start: datetime | None = None
    partition_date_end: datetime | None = None
    clear_task_instances: bool = False
    dry_run: bool = True

    @model_validator(mode="after")
    def _one_selection(self) -> ClearPartitionsBody:
        dates = self.partition_date_start is not None or self.partition_date_end is not None
        if sum((self.run_id is not None, self.partition_key is not None, dates)) != 1:
            raise ValueError("Name exactly one of run_id, partition_key, and days (partition_date_start, partition_date_end)")
        start, end = self.partition_date_start, self.partition_date_end
        if start and end and start.replace(tzinfo=None) > end.replace(tzinfo=None):
            raise ValueError("partition_date_start must be on or before partition_date_end")
        return self


@operation("POST /dags/{dag_id}/clearPartitions", may=("edit", "run"), body=ClearPartitionsBody, returns=_SCHEMA)
def clear_dag_run_partitions(call: Call, dag_id: str) -> dict[str, Any]:
    """Have runs forget their partition; a dry run (the default) counts only."""
    from apps.runs.actions import partitions

    body: ClearPartitionsBody = call.body
    if body.run_id is not None:
        the_dag(call, dag_id)
        runs = list(run_rows(call).filter(dag_id=dag_id, run_id=body.run_id))
    else:
        runs = runs_of_partitions(call, dag_id, body)
    found, cleared = partitions.reset(runs, actor=call.actor, clear_task_instances=body.clear_task_instances, dry_run=body.dry_run)
    return {"dag_runs_cleared": found, "task_instances_cleared": cleared, "dry_run": body.dry_run}
