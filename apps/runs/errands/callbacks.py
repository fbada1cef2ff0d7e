"""Callbacks and listeners that a server's decision calls for: ends of tries that could not run theirs, ends of runs, assets.

For `execution.reports`, `reaper`, `triggerer.firing` (tries), `hooks` (runs), the scheduler and `apps.runs.assets`. Rows
only: `desk` adds the facts when the errand starts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from apps.dags.models import Asset
from apps.runs import compiled, sql
from apps.runs.errands import plugin_report, queue
from apps.runs.errands.models import Errand
from apps.runs.transitions import Changed, End
from trackside.core.reasons import TASK_FAILURE, Reason
from trackside.core.snapshot import CompiledDag
from trackside.core.states import RunState, TaskState
from trackside.runner.jsonio import exact_loads

_CALLBACK = {
    TaskState.FAILED: "on_failure_callback",
    TaskState.UP_FOR_RETRY: "on_retry_callback",
    TaskState.SUCCESS: "on_success_callback",
    TaskState.SKIPPED: "on_skipped_callback",
}
_LISTENER = {
    TaskState.FAILED: "on_task_instance_failed",
    TaskState.UP_FOR_RETRY: "on_task_instance_failed",
    TaskState.SUCCESS: "on_task_instance_success",
    TaskState.SKIPPED: "on_task_instance_skipped",
}
_FACTS = """
SELECT ti.id, ti.run_id, ti.dag_id, ti.task_id, ti.map_index, ti.try_number, ti.max_tries, v.id, v.spec_hash
FROM runs_taskinstance ti JOIN runs_run r ON r.id = ti.run_id JOIN dags_dag d ON d.dag_id = ti.dag_id
JOIN dags_dagversion v ON v.id = coalesce(r.dag_version_id, d.current_version_id) WHERE ti.id = ANY(%s::bigint[])
"""


def tries_ended(ends: Iterable[End], state: TaskState, changed: Collection[Changed]) -> None:
    """These tries ended in `state` (up_for_retry: with a retry to come) and did not run their callbacks themselves.

    In the transaction of the end; `changed`: what the verb said, so that a lost race calls nobody.
    """
    moved = {c.pk for c in changed}
    mine = {e.pk: e for e in ends if e.pk in moved}
    if not mine:
        return
    rows = sql.rows(_FACTS, [list(mine)])
    dags = compiled.get_many({(r[7], r[8]) for r in rows})
    listener = _LISTENER[state] if plugin_report.listens(_LISTENER[state]) else None
    found = []
    for pk, run_pk, dag_id, task_id, map_index, try_number, max_tries, version, _ in rows:
        task = dags[version].graph.tasks.get(task_id) if version in dags else None
        name = _CALLBACK[state]
        has = task is not None and name in task.callbacks
        if not has and listener is None:
            continue
        label = task_id if map_index < 0 else f"{task_id}[{map_index}]"
        facts = {"try_number": try_number, "max_tries": max_tries, "try_id": str(mine[pk].try_id)}
        payload = {"callback": name, "state": str(state), "error": mine[pk].error, "try": facts, "listener": listener}
        found.append(
            Errand(
                kind="task_callback", title=f"{name if has else listener} of {label}, try {try_number}"[:250], dag_id=dag_id, run_id=run_pk,
                ti_id=pk, try_id=mine[pk].try_id, payload=payload,
            )
        )  # fmt: skip
    queue.put_all(found)


# --- runs ---------------------------------------------------------------------------------------------------------------
def run_ended(run_pk: int, dag: CompiledDag, outcome: RunState, why: Reason | None) -> None:
    """The planner ended a run."""
    reason = why.code if why is not None and outcome is RunState.FAILED else "success" if outcome is RunState.SUCCESS else TASK_FAILURE
    name = "on_success_callback" if outcome is RunState.SUCCESS else "on_failure_callback"
    if name in dag.spec.callbacks:
        payload = {"callback": name, "reason": reason, "state": str(outcome)}
        queue.put("dag_callback", f"{name} of the DAG", payload, dag_id=dag.spec.dag_id, run_pk=run_pk)
    run_changed([run_pk], outcome, reason)


def run_changed(run_pks: Sequence[int], state: RunState, message: str) -> None:
    """Runs came to this state: tell listeners, if there are any."""
    event = {"running": "on_dag_run_running", "success": "on_dag_run_success", "failed": "on_dag_run_failed"}.get(str(state))
    if event is None or not run_pks or not plugin_report.listens(event):
        return
    ids = dict(sql.rows("SELECT id, dag_id FROM runs_run WHERE id = ANY(%s::bigint[])", [list(run_pks)]))
    payload = {"event": event, "state": str(state), "plain": {"msg": message}}
    queue.put_all([Errand(kind="listener", title=event, dag_id=dag_id, run_id=pk, payload=payload) for pk, dag_id in ids.items()])


# --- everything else ----------------------------------------------------------------------------------------------------
def tell(event: str, arguments: Mapping[str, Any], *, plain: Mapping[str, Any] | None = None) -> None:
    """An event that belongs to no run: `arguments` are described objects (see `runner.errands.parts`), `plain` values."""
    if plugin_report.listens(event):
        queue.put("listener", event, {"event": event, "plain": dict(plain or {}), **arguments})


def asset_news(events: Sequence[tuple[int, tuple[Any, ...]]], now: datetime) -> None:
    """Asset events were written: (id, (asset id, extra as JSON, DAG, task, run id, map index, partition key)) each."""
    changed, emitted = plugin_report.listens("on_asset_changed"), plugin_report.listens("on_asset_event_emitted")
    if not events or not (changed or emitted):
        return
    assets = {a.pk: a for a in Asset.objects.filter(pk__in={row[0] for _, row in events})}
    for pk, (asset_id, extra, dag_id, task_id, run_id, map_index, partition) in events:
        asset = assets[asset_id]
        described = {"is": "asset", "name": asset.name, "uri": asset.uri, "group": asset.group, "extra": asset.extra}
        if changed:
            tell("on_asset_changed", {"asset": described})
        if emitted:
            event = {"is": "event", "id": pk, "asset": described, "extra": exact_loads(extra), "timestamp": now.isoformat(),
                     "source_dag_id": dag_id, "source_task_id": task_id, "source_run_id": run_id, "source_map_index": map_index,
                     "partition_key": partition}  # fmt: skip
            tell("on_asset_event_emitted", {"asset_event": event})
