"""The tables: where names moved, which arguments and context keys are gone, and what to write instead.

For `rewrite` and `imports`. Where a name moved follows from the bridge's own table (`airflow.names`): an old path and a new
one are the same thing there. Only what changed its name, or is gone, is written down here.
"""

from __future__ import annotations

from functools import cache

from trackside.airflow.names import MODULES

_STANDARD = "airflow.providers.standard.operators"
RENAMED = {
    "DummyOperator": (f"{_STANDARD}.empty", "EmptyOperator"),
    "Dataset": ("airflow.sdk", "Asset"),
    "DatasetAlias": ("airflow.sdk", "AssetAlias"),
    "DatasetAll": ("airflow.sdk", "AssetAll"),
    "DatasetAny": ("airflow.sdk", "AssetAny"),
    "DatasetOrTimeSchedule": ("airflow.sdk", "AssetOrTimeSchedule"),
}
"""Names that are called something else now: old name → (module, new name)."""

STAY = ("airflow.sdk", "airflow.providers", "airflow.exceptions", "airflow.configuration", "airflow.macros", "airflow.plugins_manager")
"""Modules that are where they were."""

KEEP = frozenset({"DagRun", "TaskInstance", "RuntimeTaskInstance", "XCom", "DagContext", "ID_LEN", "DagRunType", "DagModel"})
"""Names that have no better place."""

_EMAIL = "It is now `airflow.providers.smtp.operators.smtp.EmailOperator` (`trackside providers install smtp`)"
GONE = {
    "airflow.operators.subdag": "SubDAGs are gone. Put the tasks into a TaskGroup (`from airflow.sdk import TaskGroup`)",
    "airflow.operators.subdag_operator": "SubDAGs are gone. Put the tasks into a TaskGroup (`from airflow.sdk import TaskGroup`)",
    "airflow.utils.email": "Use the SMTP provider: `from airflow.providers.smtp.notifications.smtp import SmtpNotifier`",
    "airflow.operators.email": _EMAIL,
    "airflow.operators.email_operator": _EMAIL,
    "airflow.operators.sql": "It is now in `airflow.providers.common.sql.operators.sql` (`trackside providers install common-sql`)",
    "airflow.sensors.sql": "It is now in `airflow.providers.common.sql.sensors.sql` (`trackside providers install common-sql`)",
    "airflow.utils.db": "Task code has no way to the database. Use the REST API (`trackside.client`) or the task's context",
    "airflow.utils.session": "Task code has no way to the database. Use the REST API (`trackside.client`) or the task's context",
    "airflow.settings.Session": "Task code has no way to the database. Use the REST API (`trackside.client`) or the task's context",
    "airflow.models.DagBag": "Task code cannot read other DAGs. Use the REST API (`trackside.client`)",
    "airflow.contrib": "This path went with Airflow 2.0; import it from its provider package",
    "airflow.utils.log.timezone_aware": "It is gone; use the standard library's logging",
}
"""Modules and names without successor → what to do."""

DAG_ARGUMENTS = {
    "schedule_interval": "schedule",
    "timetable": "schedule",
    "concurrency": "max_active_tasks",
    "fail_stop": "fail_fast",
}
"""Arguments of DAG and @dag that have another name."""
DAG_REMOVED = {
    "default_view": "the pages remember what each person looks at",
    "orientation": "the graph's direction is chosen on its page",
    "full_filepath": "the file is known",
    "last_loaded": "it has no effect any more",
    "sla_miss_callback": "SLAs are gone: give the DAG `deadline=DeadlineAlert(…)`",
}
TASK_ARGUMENTS = {"task_concurrency": "max_active_tis_per_dag", "xcom_push": "do_xcom_push"}
"""Arguments of operators that have another name."""
TASK_REMOVED = {
    "provide_context": "the context is always given to arguments that name it",
    "sla": "SLAs are gone: give the DAG `deadline=DeadlineAlert(…)`",
    "execution_date_fn_dt": "it has no effect any more",
}
CALL_ARGUMENTS = {
    "TriggerDagRunOperator": {"execution_date": "logical_date"},
    "get": {"default_var": "default"},
}
"""Arguments of one callable only, by its last name."""
TRIGGER_RULES = {"none_failed_or_skipped": "none_failed_min_one_success", "dummy": "always"}
RULE_CONSTANTS = {"NONE_FAILED_OR_SKIPPED": "NONE_FAILED_MIN_ONE_SUCCESS", "DUMMY": "ALWAYS"}

CONTEXT = {
    "execution_date": "logical_date",
    "triggering_dataset_events": "triggering_asset_events",
    "task_instance_key_str": "task_instance_key_str",
}
"""Context keys with another name: rewritten in templates and in `context["…"]`."""
TEMPLATES = {
    "next_ds": "data_interval_end | ds",
    "next_ds_nodash": "data_interval_end | ds_nodash",
    "prev_ds": "macros.ds_add(ds, -1)",
    "prev_ds_nodash": "macros.ds_add(ds, -1) | replace('-', '')",
    "yesterday_ds": "macros.ds_add(ds, -1)",
    "yesterday_ds_nodash": "macros.ds_add(ds, -1) | replace('-', '')",
    "tomorrow_ds": "macros.ds_add(ds, 1)",
    "tomorrow_ds_nodash": "macros.ds_add(ds, 1) | replace('-', '')",
    "next_execution_date": "data_interval_end",
    "prev_execution_date": "prev_data_interval_start_success",
    "prev_execution_date_success": "prev_data_interval_start_success",
}
"""Context keys that are gone → what stands for them, as an expression for templates. Which one was meant is the author's to say
where runs are not daily, so these are explained, not rewritten."""


@cache
def _places() -> dict[str, tuple[str, str]]:
    """What a name is in the bridge → where Airflow 3 has it."""
    found: dict[str, tuple[str, str]] = {}
    order = [m for m in MODULES if m == "airflow.sdk"] + sorted(m for m in MODULES if m.startswith("airflow.providers.standard."))
    order += sorted(m for m in MODULES if m.startswith("airflow.sdk."))
    for module in order:
        for name, target in MODULES[module].items():
            if isinstance(target, str) and target.endswith(f":{name}") and not name.startswith("_") and "_internal" not in module:
                found.setdefault(target, (module, name))
    return found


@cache
def new_place(module: str, name: str) -> tuple[str, str] | None:
    """Where `from module import name` is in Airflow 3; None if it is where it was, or nobody knows."""
    if module.startswith(STAY) and name not in RENAMED:
        return None
    if name in RENAMED and module.startswith("airflow") and not module.startswith("airflow.providers"):
        return RENAMED[name] if (module, name) != RENAMED[name] else None
    if name in KEEP or module.startswith(STAY):
        return None
    if (module, name) in (("airflow.utils", "timezone"),):
        return ("airflow.sdk", "timezone")
    target = MODULES.get(module, {}).get(name)
    if target is None and module == "airflow.utils.timezone":
        return ("airflow.sdk.timezone", name)
    place = _places().get(target) if isinstance(target, str) else None
    return place if place is not None and place != (module, name) else None


def gone(module: str, name: str = "") -> str | None:
    """What to do about a module or name without successor."""
    full = f"{module}.{name}" if name else module
    return next((text for prefix, text in GONE.items() if full == prefix or full.startswith(f"{prefix}.")), None)
