"""A DAG as data: `to_spec(dag)` fills every field of `core.spec.DagSpec`. JSON only; user objects become text.

For `parsing.py` and the DAG processor. The same file must give the same spec at every parse, because the server makes a
new DAG version of every difference.
"""

from __future__ import annotations

import datetime as dt
import importlib
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from trackside.core.spec import DagSpec, GroupSpec, TaskSpec
from trackside.sdk import serde
from trackside.sdk.assets import definition
from trackside.sdk.jsonable import jsonable, plain_module, utc_text
from trackside.sdk.operator import CALLBACKS, BaseOperatorArgs
from trackside.sdk.operators.skipping import SkipMixin
from trackside.sdk.ordering import ordered_members, ordered_task_ids
from trackside.sdk.plugins.tries import by_try
from trackside.sdk.taskgroup import MappedTaskGroup, TaskGroup

if TYPE_CHECKING:
    from trackside.sdk.abstract import AbstractOperator
    from trackside.sdk.dag import DAG

NOT_ATTRIBUTES = BaseOperatorArgs | {
    *("upstream_task_ids", "downstream_task_ids", "is_setup", "is_teardown", "on_failure_fail_dagrun", "python_callable"),
    *("expand_input", "op_kwargs_expand_input", "partial_kwargs", "operator_class", "kwargs_to_upstream"),
}


def _schedule_assets(dag: DAG) -> list[dict[str, Any]]:
    condition = getattr(dag.timetable, "asset_condition", None)
    return [a.to_definition() for _, a in condition.iter_assets() if a.extra or a.watchers] if condition is not None else []


def to_spec(dag: DAG) -> DagSpec:
    """The stored form of a finished DAG. Raises whatever a user object raises that cannot even be shown as text."""
    members = ordered_members(dag)
    return DagSpec(
        dag_id=dag.dag_id,
        fileloc=dag.fileloc,
        relative_fileloc=dag.relative_fileloc,
        dag_display_name=dag._dag_display_name,
        description=dag.description,
        doc_md=dag.doc_md,
        timetable=dag.timetable.to_spec(),
        asset_expression=dag.timetable.to_spec().get("condition"),
        schedule_assets=_schedule_assets(dag),
        timezone=_zone(dag.timezone),
        start_date=_moment(dag.start_date),
        end_date=_moment(dag.end_date),
        catchup=dag.catchup,
        max_active_runs=dag.max_active_runs,
        max_active_tasks=dag.max_active_tasks,
        max_consecutive_failed_dag_runs=dag.max_consecutive_failed_dag_runs,
        dagrun_timeout=_seconds(dag.dagrun_timeout),
        fail_fast=dag.fail_fast,
        default_args=jsonable(dag.default_args),
        params=jsonable_params(dag.params),
        tags=sorted(dag.tags),
        owner_links=dict(dag.owner_links),
        access_control=dag.access_control,
        is_paused_upon_creation=dag.is_paused_upon_creation,
        allowed_run_types=dag.allowed_run_types,
        rerun_with_latest_version=dag.rerun_with_latest_version,
        disable_bundle_versioning=dag.disable_bundle_versioning,
        render_template_as_native_obj=dag.render_template_as_native_obj,
        template_searchpath=dag.template_searchpath,
        callbacks=[name for name in ("on_success_callback", "on_failure_callback") if getattr(dag, name)],
        deadlines=[alert.to_spec() for alert in dag.deadline],
        tasks=[task_spec(dag.task_dict[task_id], dag) for task_id in ordered_task_ids(dag)],
        groups=[group_spec(group, members[gid]) for gid, group in dag.task_group_dict.items()],
        root_children=members[""],
        edge_labels=sorted(
            [up, down, str(info["label"])]
            for up, downs in dag.edge_info.items()
            for down, info in downs.items()
            if info.get("label") is not None
        ),
        result_task_id=dag.result_task_id,
    )


def task_spec(task: Any, dag: DAG) -> TaskSpec:
    """One task, mapped or not."""
    base = task._base if task.is_mapped else task
    cls: type = task.operator_class
    mapped_group = task.get_closest_mapped_task_group()
    trigger_args = getattr(task, "start_trigger_args", None)
    return TaskSpec(
        task_id=task.task_id,
        operator=task.operator_name,
        class_name=class_name(cls),
        module=module_name(cls),
        task_display_name=base._task_display_name,
        group_id=_group_id(task),
        downstream=sorted(task.downstream_task_ids),
        owner=base.owner,
        trigger_rule=str(base.trigger_rule),
        is_setup=task.is_setup,
        is_teardown=task.is_teardown,
        on_failure_fail_dagrun=task.on_failure_fail_dagrun,
        has_work=has_work(task),
        **_limits(base),
        by_try=by_try(task, dag),
        params=jsonable_params(base.params),
        mapped=task.is_mapped,
        expand=task.expand_input.to_spec() if task.is_mapped else None,
        mapped_group_id=mapped_group.group_id if mapped_group is not None else None,
        map_index_template=base.map_index_template,
        multiple_outputs=bool(base.multiple_outputs),
        do_xcom_push=base.do_xcom_push,
        skips=getattr(cls, "_skips", None) or ("branch" if issubclass(cls, SkipMixin) else None),
        ignore_downstream_trigger_rules=bool(getattr(task, "ignore_downstream_trigger_rules", True)),
        start_from_trigger=bool(getattr(task, "start_from_trigger", False)),
        start_trigger_args=_trigger_args(trigger_args),
        inlets=[definition(item) for item in base.inlets],
        outlets=[definition(item) for item in base.outlets],
        template_fields=list(task.template_fields),
        template_fields_renderers=dict(getattr(task, "template_fields_renderers", None) or {}),
        ui_color=str(getattr(task, "ui_color", "#fff")),
        ui_fgcolor=str(getattr(task, "ui_fgcolor", "#000")),
        extra_links=task.extra_links,
        doc=base.doc,
        doc_md=base.doc_md,
        doc_rst=base.doc_rst,
        doc_json=base.doc_json,
        doc_yaml=base.doc_yaml,
        render_template_as_native_obj=base.render_template_as_native_obj,
        callbacks=[name for name in CALLBACKS if getattr(base, name)],
        attributes=attributes(task),
    )


def _limits(base: Any) -> dict[str, Any]:
    """Retries, timing and concurrency."""
    return {
        "retries": base.retries,
        "retry_delay": base.retry_delay.total_seconds(),
        "retry_exponential_backoff": base.retry_exponential_backoff,
        "max_retry_delay": _seconds(base.max_retry_delay),
        "has_retry_policy": base.retry_policy is not None,
        "execution_timeout": _seconds(base.execution_timeout),
        "depends_on_past": base.depends_on_past,
        "ignore_first_depends_on_past": base.ignore_first_depends_on_past,
        "wait_for_past_depends_before_skipping": base.wait_for_past_depends_before_skipping,
        "wait_for_downstream": base.wait_for_downstream,
        "pool": base.pool,
        "pool_slots": base.pool_slots,
        "queue": base.queue,
        "priority_weight": base.priority_weight,
        "weight_rule": str(base.weight_rule),
        "executor": base.executor,
        "executor_config": jsonable(base.executor_config),
        "max_active_tis_per_dag": base.max_active_tis_per_dag,
        "max_active_tis_per_dagrun": base.max_active_tis_per_dagrun,
        "start_date": _moment(base.start_date),
        "end_date": _moment(base.end_date),
    }


def group_spec(group: TaskGroup, members: list[str]) -> GroupSpec:
    """One task group."""
    parent = group.parent_group
    mapped = isinstance(group, MappedTaskGroup)
    return GroupSpec(
        group_id=group.node_id,
        parent_id=parent.group_id if parent is not None else None,
        children=members,
        label=group.label,
        tooltip=group.tooltip or "",
        doc_md=group.doc_md,
        prefix_group_id=group.prefix_group_id,
        ui_color=group.ui_color,
        ui_fgcolor=group.ui_fgcolor,
        mapped=mapped,
        expand=group.expand_input.to_spec() if isinstance(group, MappedTaskGroup) else None,
    )


def has_work(task: Any) -> bool:
    """Whether somebody must run the task; empty ones without callbacks and assets are completed as they are (row 1.284)."""
    if not getattr(task.operator_class, "inherits_from_empty_operator", False):
        return True
    base = task._base if task.is_mapped else task
    return bool(base.on_execute_callback or base.on_success_callback or base.inlets or base.outlets)


def attributes(task: Any) -> dict[str, Any]:
    """Values of template fields and of the operator's own arguments, secrets hidden."""
    from trackside.sdk.log import redact

    if task.is_mapped:
        values: Mapping[str, Any] = task.partial_kwargs
    else:
        values = {**{name: getattr(task, name, None) for name in task.template_fields}, **vars(task)}
    shown = {
        name: value for name, value in values.items() if not name.startswith("_") and name not in NOT_ATTRIBUTES and name != "task_group"
    }
    return {name: redact(jsonable(value), name) for name, value in shown.items()}


def class_name(cls: type) -> str:
    """Class name under which Airflow knows the operator."""
    return str(cls.__dict__.get("_airflow_name") or cls.__name__)


@lru_cache(maxsize=1024)
def module_name(cls: type) -> str:
    """Module of the operator class, as DAG files import it."""
    own = cls.__dict__.get("_airflow_module")
    if own:
        return str(own)
    if not cls.__module__.startswith("trackside."):
        return plain_module(cls.__module__)
    return str(importlib.import_module("trackside.airflow.names").public_module(cls))  # the bridge has the table


def jsonable_params(params: Any) -> dict[str, Any]:
    """Params in their stored form."""
    return {name: jsonable(data) for name, data in params.to_spec().items()}


def _group_id(task: AbstractOperator) -> str | None:
    return task.task_group.group_id if task.task_group is not None else None


def _trigger_args(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    data = dict(vars(value)) if hasattr(value, "__dict__") else {s: getattr(value, s, None) for s in getattr(value, "__slots__", ())}
    # the triggerer and the task read them as they read those of a deferral: with envelopes
    for name in ("trigger_kwargs", "next_kwargs"):
        data[name] = serde.serialize(data[name]) if data.get(name) is not None else None
    timeout = data.get("timeout")
    data["timeout"] = timeout.total_seconds() if isinstance(timeout, dt.timedelta) else timeout
    return jsonable(data)


def _zone(zone: Any) -> str:
    from trackside.core.timetables.zones import zone_name

    return zone_name(zone)


def _seconds(span: Any) -> float | None:
    return None if span is None else span.total_seconds()


def _moment(value: Any) -> str | None:
    return None if value is None else utc_text(value)
