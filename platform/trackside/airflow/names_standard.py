"""The table's part for the standard provider, and the old paths of its operators and sensors.

For `names`. Modules of the real `apache-airflow-providers-standard` not listed here are found if it is installed.
"""

from __future__ import annotations

from typing import Any

_PYTHON: dict[str, Any] = {
    name: f"sdk.operators.python:{name}"
    for name in ("PythonOperator", "BranchPythonOperator", "ShortCircuitOperator")
} | {
    name: f"sdk.operators.virtualenv:{name}"
    for name in (
        *("PythonVirtualenvOperator", "ExternalPythonOperator", "BranchPythonVirtualenvOperator"),
        "BranchExternalPythonOperator",
    )
}
_PYTHON["get_current_context"] = "sdk.execution.current:get_current_context"
_BASH = {"BashOperator": "sdk.operators.bash:BashOperator"}
_EMPTY = {"EmptyOperator": "sdk.operators.empty:EmptyOperator"}
_BRANCH = {
    "BaseBranchOperator": "sdk.operators.branch:BaseBranchOperator",
    "BranchMixIn": "sdk.operators.skipping:BranchMixIn",
}
_LATEST = {"LatestOnlyOperator": "sdk.operators.latest_only:LatestOnlyOperator"}
_DATETIME = {"BranchDateTimeOperator": "sdk.operators.branch:BranchDateTimeOperator"}
_WEEKDAY = {
    "BranchDayOfWeekOperator": "sdk.operators.branch:BranchDayOfWeekOperator",
    "WeekDay": "sdk.operators.weekday:WeekDay",
}
_TRIGGER_RUN = {
    name: f"sdk.operators.trigger_dagrun:{name}" for name in ("TriggerDagRunOperator", "TriggerDagRunLink", "DagIsPaused")
}
_SMOOTH = {"SmoothOperator": "sdk.operators.smooth:SmoothOperator"}
_HITL = {
    name: f"sdk.operators.hitl:{name}"
    for name in ("HITLOperator", "ApprovalOperator", "HITLBranchOperator", "HITLEntryOperator")
}
_EXTERNAL_ERRORS = {
    name: f"sdk.sensors.external_errors:{name}"
    for name in (
        "AirflowExternalTaskSensorException",
        "ExternalDagNotFoundError",
        "ExternalDagDeletedError",
        "ExternalTaskNotFoundError",
        "ExternalTaskGroupNotFoundError",
        "ExternalTaskFailedError",
        "ExternalTaskGroupFailedError",
        "ExternalDagFailedError",
        "DuplicateStateError",
    )
}
_HITL_ERRORS = {
    name: f"sdk.operators.hitl:{name}" for name in ("HITLTriggerEventError", "HITLTimeoutError", "HITLRejectException")
}

_SENSOR_BASE = {
    name: f"sdk.sensor:{name}" for name in ("BaseSensorOperator", "PokeReturnValue", "poke_mode_only")
}
_S_PYTHON = {"PythonSensor": "sdk.sensors.python:PythonSensor"}
_S_BASH = {"BashSensor": "sdk.sensors.bash:BashSensor"}
_S_FILE = {"FileSensor": "sdk.sensors.filesystem:FileSensor"}
_S_DATE_TIME = {name: f"sdk.sensors.date_time:{name}" for name in ("DateTimeSensor", "DateTimeSensorAsync")}
_S_TIME = {name: f"sdk.sensors.time:{name}" for name in ("TimeSensor", "TimeSensorAsync")}
_S_DELTA = {
    name: f"sdk.sensors.time_delta:{name}" for name in ("TimeDeltaSensor", "TimeDeltaSensorAsync", "WaitSensor")
}
_S_WEEKDAY = {"DayOfWeekSensor": "sdk.sensors.weekday:DayOfWeekSensor"}
_S_EXTERNAL = {
    name: f"sdk.sensors.external_task:{name}"
    for name in ("ExternalTaskSensor", "ExternalTaskMarker", "ExternalTaskSensorLink", "ExternalDagLink")
}

_O = "airflow.providers.standard.operators"
_S = "airflow.providers.standard.sensors"
_D = "airflow.providers.standard.decorators"
_T = "airflow.providers.standard.triggers"

STANDARD: dict[str, dict[str, Any]] = {
    "airflow.providers": {},
    "airflow.providers.standard": {"__version__": "1.21.0"},
    f"{_O}.python": _PYTHON,
    f"{_O}.bash": _BASH,
    f"{_O}.empty": _EMPTY,
    f"{_O}.branch": _BRANCH,
    f"{_O}.latest_only": _LATEST,
    f"{_O}.datetime": _DATETIME,
    f"{_O}.weekday": _WEEKDAY,
    f"{_O}.trigger_dagrun": _TRIGGER_RUN,
    f"{_O}.smooth": _SMOOTH,
    f"{_O}.hitl": _HITL,
    "airflow.providers.standard.exceptions": {**_HITL_ERRORS, **_EXTERNAL_ERRORS},
    "airflow.sdk.execution_time.hitl": {"HITLUser": "sdk.operators.hitl:HITLUser"},
    "airflow.providers.standard.hooks.filesystem": {"FSHook": "sdk.sensors.filesystem:FSHook"},
    "airflow.providers.standard.hooks.package_index": {"PackageIndexHook": "sdk.operators.package_index:PackageIndexHook"},
    "airflow.providers.standard.hooks.subprocess": {
        name: f"sdk.operators.subprocess:{name}" for name in ("SubprocessHook", "SubprocessResult")
    },
    "airflow.providers.standard.utils.skipmixin": {"SkipMixin": "sdk.operators.skipping:SkipMixin"},
    "airflow.providers.standard.utils.weekday": {"WeekDay": "sdk.operators.weekday:WeekDay"},
    f"{_S}.python": _S_PYTHON,
    f"{_S}.bash": _S_BASH,
    f"{_S}.filesystem": _S_FILE,
    f"{_S}.date_time": _S_DATE_TIME,
    f"{_S}.time": _S_TIME,
    f"{_S}.time_delta": _S_DELTA,
    f"{_S}.weekday": _S_WEEKDAY,
    f"{_S}.external_task": _S_EXTERNAL,
    f"{_T}.temporal": {name: f"sdk.triggers_standard:{name}" for name in ("DateTimeTrigger", "TimeDeltaTrigger")},
    f"{_T}.external_task": {
        name: f"sdk.triggers_external:{name}" for name in ("DagStateTrigger", "WorkflowTrigger")
    },
    f"{_T}.file": {
        name: f"sdk.triggers_standard:{name}" for name in ("FileTrigger", "FileDeleteTrigger", "DirectoryFileDeleteTrigger")
    },
    **{
        f"{_D}.{module}": {name: f"sdk.operators.decorated:{name}"}
        for module, name in (
            *(("python", "_PythonDecoratedOperator"), ("branch_python", "_BranchPythonDecoratedOperator")),
            *(("short_circuit", "_ShortCircuitDecoratedOperator"), ("bash", "_BashDecoratedOperator")),
        )
    },
    **{
        f"{_D}.{module}": {name: f"sdk.operators.decorated_venv:{name}"}
        for module, name in (
            *(("python_virtualenv", "_PythonVirtualenvDecoratedOperator"),),
            *(("external_python", "_PythonExternalDecoratedOperator"),),
            *(("branch_virtualenv", "_BranchPythonVirtualenvDecoratedOperator"),),
            *(("branch_external_python", "_BranchExternalPythonDecoratedOperator"),),
        )
    },
    f"{_D}.stub": {"_StubOperator": "sdk.operators.decorated:_StubOperator", "stub": "sdk.operators.decorated:stub"},
    f"{_D}.sensor": {"DecoratedSensorOperator": "sdk.sensors.decorated:DecoratedSensorOperator"},
    # paths of Airflow 2
    "airflow.operators": {},
    "airflow.operators.python": _PYTHON,
    "airflow.operators.python_operator": _PYTHON,
    "airflow.operators.bash": _BASH,
    "airflow.operators.bash_operator": _BASH,
    "airflow.operators.empty": _EMPTY,
    "airflow.operators.dummy": {"DummyOperator": _EMPTY["EmptyOperator"], **_EMPTY},
    "airflow.operators.dummy_operator": {"DummyOperator": _EMPTY["EmptyOperator"], **_EMPTY},
    "airflow.operators.branch": _BRANCH,
    "airflow.operators.latest_only": _LATEST,
    "airflow.operators.datetime": _DATETIME,
    "airflow.operators.weekday": _WEEKDAY,
    "airflow.operators.trigger_dagrun": _TRIGGER_RUN,
    "airflow.operators.smooth": _SMOOTH,
    "airflow.sensors": {},
    "airflow.sensors.base": _SENSOR_BASE,
    "airflow.sensors.base_sensor_operator": _SENSOR_BASE,
    "airflow.sensors.python": _S_PYTHON,
    "airflow.sensors.bash": _S_BASH,
    "airflow.sensors.filesystem": _S_FILE,
    "airflow.sensors.date_time": _S_DATE_TIME,
    "airflow.sensors.time_sensor": _S_TIME,
    "airflow.sensors.time_delta": _S_DELTA,
    "airflow.sensors.weekday": _S_WEEKDAY,
    "airflow.sensors.external_task": _S_EXTERNAL,
    "airflow.sensors.external_task_sensor": _S_EXTERNAL,
}
"""Module → its names."""
