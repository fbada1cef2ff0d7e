"""What errands are made of: the DAG file, the context of a run or a try, and things that look like server objects to listeners.

For `jobs`.
"""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace
from typing import Any

from trackside.core.messages import StartOrder
from trackside.runner.loading import LoadedFile, dags_folder_of, load
from trackside.sdk.execution.comms import Comms
from trackside.sdk.execution.context import Context, build_context
from trackside.sdk.execution.records import DagRun
from trackside.sdk.execution.ti import RuntimeTaskInstance


class Undoable(Exception):
    """The errand cannot be done; the message says why and what helps."""


def load_file(job: dict[str, Any]) -> LoadedFile:
    """The job's DAG file. Raises Undoable when it cannot be read."""
    path = job.get("dag_file") or ""
    loaded = load(path, dags_folder_of(path, job.get("relative_fileloc") or ""), {})
    if not loaded.dags and loaded.errors:
        raise Undoable(f"{path} cannot be loaded: {loaded.errors[0]}")
    return loaded


def dag_of(job: dict[str, Any]) -> Any:
    """The job's DAG. Raises Undoable when the file no longer has it."""
    loaded = load_file(job)
    dag = loaded.dags.get(job["dag_id"])
    if dag is None:
        raise Undoable(f"DAG {job['dag_id']!r} is no longer in {job.get('dag_file')}" + "".join(f"\n{e}" for e in loaded.errors))
    return dag


def task_instance(order: dict[str, Any], dag: Any, comms: Comms, state: str | None = None) -> RuntimeTaskInstance | None:
    """The task instance of a start order, as callbacks see it; None if the DAG no longer has its task."""
    task = dag.task_dict.get(order["task_id"])
    if task is None:
        return None
    ti = RuntimeTaskInstance(StartOrder.from_dict({"token": "", **order}), task, dag, comms)
    ti.state = state or "failed"
    return ti


def context_of(job: dict[str, Any], dag: Any, comms: Comms) -> Context:
    """The context of the job's task instance; of its run alone if it has none."""
    order = job.get("order")
    ti = task_instance(order, dag, comms, job.get("state")) if order else None
    if ti is not None:
        context = ti.context = build_context(ti)
        return context
    context = Context(dag=dag, run_id=(job.get("run") or {}).get("run_id"))
    if job.get("run"):
        context["dag_run"] = DagRun.from_wire(job["run"])
    return context


def function_of(path: str, job: dict[str, Any]) -> Any:
    """What a dotted path names; functions of DAG files are found by loading the file. Raises Undoable.

    The path is of the folder the file was parsed in; the file of a kept version lies elsewhere, and its module is named after that.
    """
    dag_file = job.get("dag_file")
    module, _, name = path.rpartition(".")
    if module.startswith("unusual_prefix_") and module not in sys.modules and dag_file:
        from trackside.sdk.jsonable import plain_module

        load_file(job)
        module = next((loaded for loaded in list(sys.modules) if plain_module(loaded) == plain_module(module)), module)
    try:
        return getattr(sys.modules.get(module) or importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise Undoable(
            f"There is no callback {path}: {error}. Put it into a module that can be imported, e.g. in the plugins or DAG folder."
        ) from error


def listened_run(data: dict[str, Any]) -> Any:
    """A run for listeners: attributes of the record, its DAG's id and its task instances."""
    run = DagRun.from_wire(data)
    values = {name: getattr(run, name) for name in DagRun.__slots__}
    instances = [SimpleNamespace(**ti) for ti in data.get("task_instances", ())]
    return SimpleNamespace(
        **values, get_task_instances=lambda *_, **__: instances, task_instances=instances, dag=SimpleNamespace(dag_id=run.dag_id),
        get_state=lambda: run.state, external_trigger=run.external_trigger, dag_hash=None,
    )  # fmt: skip


def listened_asset(data: dict[str, Any]) -> Any:
    """An asset, alias or asset event for listeners."""
    from trackside.sdk.assets import Asset, AssetAlias

    match data.get("is"):
        case "asset":
            return Asset(name=data["name"], uri=data["uri"], group=data.get("group") or "asset", extra=data.get("extra") or {})
        case "alias":
            return AssetAlias(name=data["name"], group=data.get("group") or "asset")
    asset = listened_asset({"is": "asset", **data["asset"]})
    return SimpleNamespace(**{**{k: v for k, v in data.items() if k != "is"}, "asset": asset})
