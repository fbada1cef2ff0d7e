"""REST: why a run, a task or an asset's consumer does not go on, as a chain from what is waiting to what holds it up."""

from __future__ import annotations

from typing import Any

from apps.access import policy
from apps.access.rest.errors import not_found
from apps.access.rest.fields import moment, schema_of, text
from apps.access.rest.operations import Call
from apps.access.rest.params import MAX_BIGINT, Param
from apps.dags.asset_models import Asset, AssetUse
from apps.runs.api.dependencies import unmet
from apps.runs.api.lookups import the_run, the_ti
from apps.runs.models import QueuedAsset
from apps.ui.api import own
from apps.ui.queries import runs as queries
from apps.ui.queries import why
from trackside.core.states import FINISHED, RunState

_TEXT = {"type": "string"}
_NULL_TEXT = {"anyOf": [_TEXT, {"type": "null"}]}
_LINK = {
    "type": "object",
    "properties": {"task_id": _TEXT, "map_index": {"type": "integer"}, "state": _NULL_TEXT, "reason": _NULL_TEXT, "code": _NULL_TEXT},
    "required": ["task_id", "state", "reason"],
}
_RUN = {
    "type": "object",
    "title": "WhyRun",
    "properties": {"state": _TEXT, "reason": _NULL_TEXT, "chain": {"type": "array", "items": _LINK}},
    "required": ["state", "reason", "chain"],
}
_TASK = {
    "type": "object",
    "title": "WhyTask",
    "properties": {
        **_LINK["properties"],  # type: ignore[dict-item]
        "unmet": {"type": "array", "items": {"type": "object", "properties": {"name": _TEXT, "reason": _TEXT}}},
        "chain": {"type": "array", "items": _LINK},
    },
    "required": ["task_id", "map_index", "state", "reason", "unmet", "chain"],
}
_CONSUMER = (text("dag_id"), text("state"), text("reason"), moment("queued_at"))
_ASSET = {
    "type": "object",
    "title": "WhyAsset",
    "properties": {"asset_id": {"type": "integer"}, "name": _TEXT, "consumers": {"type": "array", "items": schema_of(_CONSUMER)}},
    "required": ["asset_id", "name", "consumers"],
}
_RUN_PATH = "GET /dags/{dag_id}/runs/{run_id}"


def _chain(run: Any, task_id: str | None = None) -> list[dict[str, Any]]:
    structure = queries.version_structure(run)
    lines = queries.task_lines(run, structure)
    found = why.chain(lines, structure, since=task_id)
    return [{"task_id": line.task_id, "state": line.state, "reason": line.reason or None} for line in found]


@own(f"{_RUN_PATH}/why", may=("read", "run"), returns=_RUN)
def why_run(call: Call, dag_id: str, run_id: str) -> dict[str, Any]:
    """Why a run is not done, or how it failed: its own reason, and the chain of tasks back to the cause."""
    run = the_run(call, dag_id, run_id)
    chain = [] if run.state == RunState.SUCCESS else _chain(run)
    reason = run.reason or next((link["reason"] for link in reversed(chain) if link["reason"]), None)
    return {"state": run.state, "reason": reason, "chain": chain}


@own(f"{_RUN_PATH}/tasks/{{task_id}}/why", may=("read", "task"), query=(Param("map_index", int, -1),), returns=_TASK)
def why_task(call: Call, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
    """Why a task instance does not run: its reason, every unmet dependency, and the chain back to the cause."""
    ti = the_ti(call, dag_id, run_id, task_id, call.query["map_index"])
    chain = [] if ti.state in FINISHED and ti.state != "upstream_failed" else _chain(ti.run, task_id)
    state = None if ti.state == "none" else ti.state
    return {
        "task_id": task_id, "map_index": ti.map_index, "state": state, "reason": ti.reason or None, "code": ti.reason_code or None,
        "unmet": unmet(ti), "chain": chain,
    }  # fmt: skip


@own("GET /assets/{asset_id}/why", may=("read", "asset"), path={"asset_id": int}, returns=_ASSET)
def why_asset(call: Call, asset_id: int) -> dict[str, Any]:
    """What the DAGs that wait for an asset still lack before they run."""
    asset = Asset.objects.filter(pk=asset_id).first() if abs(asset_id) <= MAX_BIGINT else None
    if asset is None:
        raise not_found(f"The Asset with ID: `{asset_id}` was not found")
    uses = AssetUse.objects.filter(policy.visible_dags(call.user, "dag"), asset=asset, kind=AssetUse.SCHEDULE).select_related("dag")
    dags = {use.dag_id: use.dag for use in uses}
    queued: dict[str, dict[int, Any]] = {}
    for row in QueuedAsset.objects.filter(dag__in=dags):
        queued.setdefault(row.dag_id, {})[row.asset_id] = row.created_at
    wanted: dict[str, dict[int, str]] = {}
    needs = AssetUse.objects.filter(dag__in=dags, kind=AssetUse.SCHEDULE, asset__isnull=False).select_related("asset")
    for need in needs:
        assert need.asset is not None
        wanted.setdefault(need.dag_id, {})[need.asset.pk] = need.asset.name
    consumers = [_consumer(dag, wanted.get(dag_id, {}), queued.get(dag_id, {}), asset) for dag_id, dag in sorted(dags.items())]
    return {"asset_id": asset.pk, "name": asset.name, "consumers": consumers}


def _consumer(dag: Any, wanted: dict[int, str], queued: dict[int, Any], asset: Asset) -> dict[str, Any]:
    missing = sorted(name for pk, name in wanted.items() if pk not in queued)
    if dag.is_paused:
        state, reason = "paused", "The DAG is paused: news of assets is not collected for it. Unpause it."
    elif missing:
        state, reason = "waiting", f"No news yet of {', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''} since its last run."
    else:
        state, reason = "due", "Everything it waits for has news; the scheduler makes the run."
    return {"dag_id": dag.pk, "state": state, "reason": reason, "queued_at": queued.get(asset.pk)}
