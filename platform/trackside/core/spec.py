"""What a DAG file said, as plain data: the serialized DAG.

Written by the SDK when a file is parsed, stored by the catalogue once per DAG version, read by the planner, REST and the
pages. It is JSON through and through: moments are ISO 8601 in UTC with microseconds, time spans are seconds (float),
callables and objects never appear. Unknown keys are ignored on reading, so that an older server reads a newer file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

SPEC_VERSION = 1


class _Record:
    """Shared codec: every field is JSON already, nested records name their type in `_nested`."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build from `to_dict()` output; unknown keys are ignored, missing ones take their default."""
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        return cls(**{k: v for k, v in data.items() if k in known})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dict; the inverse of `from_dict`."""
        return asdict(self)  # type: ignore[call-overload]


@dataclass(slots=True)
class TaskSpec(_Record):
    """One task of a DAG (a mapped task is one TaskSpec with `mapped=True`)."""

    task_id: str
    operator: str = "BaseOperator"
    """Class name shown to people (custom_operator_name wins)."""
    class_name: str = ""
    """Name of the operator class itself, under which Airflow knows it."""
    module: str = ""
    """Module of the operator class, under the name the DAG file imported it by (`airflow.…`)."""
    task_display_name: str | None = None
    group_id: str | None = None
    """Full id of the enclosing task group, None at the top."""
    downstream: list[str] = field(default_factory=list)
    """Direct downstream task ids, sorted. The upstream direction is derived (`core.graph`)."""
    owner: str = "airflow"
    trigger_rule: str = "all_success"
    is_setup: bool = False
    is_teardown: bool = False
    on_failure_fail_dagrun: bool = False
    """Teardowns only: whether their failure fails the run."""
    has_work: bool = True
    """False: nothing to execute (EmptyOperator without callbacks and outlets): the planner completes it by itself."""
    retries: int = 0
    retry_delay: float = 300.0
    retry_exponential_backoff: float = 0.0
    """Multiplier of the back-off, 0 = constant delay (Airflow 3.3: True means 2.0)."""
    max_retry_delay: float | None = None
    has_retry_policy: bool = False
    execution_timeout: float | None = None
    depends_on_past: bool = False
    ignore_first_depends_on_past: bool = False
    wait_for_past_depends_before_skipping: bool = False
    wait_for_downstream: bool = False
    pool: str = "default_pool"
    pool_slots: int = 1
    queue: str = "default"
    priority_weight: int = 1
    weight_rule: str = "downstream"
    by_try: list[dict[str, Any]] = field(default_factory=list)
    """Per try from 1: priority_weight, queue, pool, pool_slots or executor as an own priority strategy or the installation's
    task_instance_mutation_hook wants them; later tries are like the last."""
    executor: str | None = None
    executor_config: dict[str, Any] = field(default_factory=dict)
    max_active_tis_per_dag: int | None = None
    max_active_tis_per_dagrun: int | None = None
    start_date: str | None = None
    end_date: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    """name → {"value", "schema", "description", "source"}; see DagSpec.params."""
    mapped: bool = False
    expand: dict[str, Any] | None = None
    """Mapped tasks: {"kind": "dict"|"list"|"expand_kwargs", "value": …} with XCom references as {"__xcom__": …}."""
    mapped_group_id: str | None = None
    """Innermost mapped task group around the task, if any."""
    map_index_template: str | None = None
    multiple_outputs: bool = False
    do_xcom_push: bool = True
    skips: str | None = None
    """"branch" or "short_circuit" when the task itself decides which downstream tasks are skipped."""
    ignore_downstream_trigger_rules: bool = True
    """Short circuit only."""
    start_from_trigger: bool = False
    start_trigger_args: dict[str, Any] | None = None
    inlets: list[dict[str, Any]] = field(default_factory=list)
    outlets: list[dict[str, Any]] = field(default_factory=list)
    template_fields: list[str] = field(default_factory=list)
    template_fields_renderers: dict[str, str] = field(default_factory=dict)
    ui_color: str = "#fff"
    ui_fgcolor: str = "#000"
    extra_links: list[str] = field(default_factory=list)
    doc: str | None = None
    doc_md: str | None = None
    doc_rst: str | None = None
    doc_json: str | None = None
    doc_yaml: str | None = None
    render_template_as_native_obj: bool | None = None
    callbacks: list[str] = field(default_factory=list)
    """Names of callbacks that are set, e.g. ["on_failure_callback"]."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """JSON-able values of template fields and further operator arguments, for the details page only."""

    @property
    def label(self) -> str:
        """Name without the group prefix, or the display name."""
        if self.task_display_name:
            return self.task_display_name
        prefix = f"{self.group_id}." if self.group_id else ""
        return self.task_id.removeprefix(prefix)


@dataclass(slots=True)
class GroupSpec(_Record):
    """One task group; the root has group_id None and is not listed."""

    group_id: str
    parent_id: str | None = None
    children: list[str] = field(default_factory=list)
    """Ids of direct children (tasks and groups) in declared order."""
    label: str = ""
    tooltip: str = ""
    doc_md: str | None = None
    prefix_group_id: bool = True
    ui_color: str = "CornflowerBlue"
    ui_fgcolor: str = "#000"
    mapped: bool = False
    expand: dict[str, Any] | None = None


@dataclass(slots=True)
class DagSpec(_Record):
    """One DAG as its file described it."""

    dag_id: str
    fileloc: str = ""
    relative_fileloc: str = ""
    dag_display_name: str | None = None
    description: str | None = None
    doc_md: str | None = None
    timetable: dict[str, Any] = field(default_factory=lambda: {"kind": "null"})
    """Serialized timetable, see `core.timetables`."""
    asset_expression: dict[str, Any] | None = None
    """Condition over assets that starts runs: {"all": [{"asset": {"uri", "name", "group"}}, …]}; also timetable["condition"]."""
    schedule_assets: list[dict[str, Any]] = field(default_factory=list)
    """Full definitions (group, extra, watchers) of the assets in that condition that say more than their name and URI."""
    timezone: str = "UTC"
    start_date: str | None = None
    end_date: str | None = None
    catchup: bool = False
    max_active_runs: int = 16
    max_active_tasks: int = 16
    max_consecutive_failed_dag_runs: int = 0
    dagrun_timeout: float | None = None
    fail_fast: bool = False
    default_args: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    """name → {"value": default (key absent = required), "schema": JSON schema, "description": str|None, "source": "dag"|"task"|None}."""
    params_order: list[str] = field(default_factory=list)
    """Names of the params as the file declared them: JSON columns of databases do not keep the order of keys."""
    tags: list[str] = field(default_factory=list)
    owner_links: dict[str, str] = field(default_factory=dict)
    access_control: dict[str, Any] | None = None
    is_paused_upon_creation: bool | None = None
    allowed_run_types: list[str] | None = None
    rerun_with_latest_version: bool | None = None
    disable_bundle_versioning: bool = False
    render_template_as_native_obj: bool = False
    template_searchpath: list[str] | None = None
    callbacks: list[str] = field(default_factory=list)
    deadlines: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[TaskSpec] = field(default_factory=list)
    """In declared (stable topological) order."""
    groups: list[GroupSpec] = field(default_factory=list)
    root_children: list[str] = field(default_factory=list)
    """Ids of the tasks and groups at the top, in declared order."""
    edge_labels: list[list[str]] = field(default_factory=list)
    """[upstream id, downstream id, label]."""
    result_task_id: str | None = None
    spec_version: int = SPEC_VERSION

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DagSpec:
        """Inverse of `to_dict`."""
        known = {f.name for f in fields(cls)}
        kwargs = {k: v for k, v in data.items() if k in known}
        kwargs["tasks"] = [TaskSpec.from_dict(t) for t in data.get("tasks", ())]
        kwargs["groups"] = [GroupSpec.from_dict(g) for g in data.get("groups", ())]
        if (params := data.get("params")) and (order := data.get("params_order")):
            kwargs["params"] = {name: params[name] for name in (*order, *(n for n in params if n not in order)) if name in params}
        return cls(**kwargs)

    def __post_init__(self) -> None:
        self.params_order = self.params_order or list(self.params)

    @property
    def owners(self) -> list[str]:
        """Distinct owners of the tasks, sorted."""
        return sorted({t.owner for t in self.tasks})

    def structure_hash(self) -> str:
        """SHA-256 over everything but where the file lies: a new hash means a new DAG version."""
        data = self.to_dict()
        for volatile in ("fileloc", "relative_fileloc"):
            data.pop(volatile)
        return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()
