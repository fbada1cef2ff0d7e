"""Which name of Airflow is what in Trackside: one table, module by module.

For `finder`. To offer another name, add a line: `"Name": "sdk.module:attribute"` (below `trackside`), or
`"sdk.module:"` for a module as a value. `"*"` takes every public name of a module. Next door: `names_standard` has the
standard provider.
"""

from __future__ import annotations

from typing import Any

from trackside.airflow.names_providers import PROVIDERS
from trackside.airflow.names_standard import STANDARD

AIRFLOW_VERSION = "3.3.2"
Names = dict[str, Any]

HINTS = {
    "": "write the file without it, or ask for it to be added.",
    "airflow.providers": "install its package beside Trackside, for example with `trackside providers install http`.",
    "airflow.settings": "a DAG file cannot reach the database; use the REST API or task context instead.",
    "airflow.utils.session": "a DAG file cannot reach the database; use the REST API or task context instead.",
    "airflow.models": "a DAG file cannot reach the database; use the REST API or task context instead.",
    "airflow.contrib": "this path is gone since Airflow 2; import it from its provider package.",
    "airflow.www": "plugins for Airflow's own web pages have no place here.",
    "airflow.api_fastapi": "plugins for Airflow's own web pages have no place here.",
}
"""What to do, by prefix of the missing name; the first that fits wins, "" is for everything else."""


def _of(target: str, *names: str) -> Names:
    return {name: f"{target}:{name}" for name in names}


_DAG = _of("sdk.dag", "DAG", "dag")
_OPERATOR = _of("sdk.operator", "BaseOperator", "BaseAsyncOperator")
_SENSOR = _of("sdk.sensor", "BaseSensorOperator", "PokeReturnValue")
_BRANCH = {
    "BaseBranchOperator": "sdk.operators.branch:BaseBranchOperator",
    **_of("sdk.operators.skipping", "BranchMixIn", "SkipMixin"),
}
_EDGES = _of("sdk.edges", "Label", "EdgeModifier", "chain", "chain_linear", "cross_downstream")
_GROUP = _of("sdk.taskgroup", "TaskGroup", "task_group", "MappedTaskGroup")
_TASK = {
    **_of("sdk.decorators", "task", "setup", "teardown"),
    "task_group": "sdk.taskgroup:task_group",
    "dag": "sdk.dag:dag",
}
_XCOM_ARG = {
    **_of("sdk.xcom_arg", "XComArg", "PlainXComArg", "MapXComArg", "ZipXComArg", "ConcatXComArg"),
    "SchedulerXComArg": "sdk.xcom_arg:XComArg",
}
_STORES = _of("sdk.stores", "attach", "ObjectStore")
_XCOM = _of("sdk.execution.xcom", "XCom", "BaseXCom", "XCOM_RETURN_KEY")
_PARAM = _of("sdk.param", "Param", "ParamsDict", "DagParam")
_ASSETS = _of(
    "sdk.assets",
    *("Asset", "AssetAlias", "AssetAll", "AssetAny", "AssetWatcher", "AssetAccessControl", "Metadata", "Dataset"),
    *("Model", "AssetRef", "AssetNameRef", "AssetUriRef", "AssetUniqueKey", "BaseAsset"),
)
_TIMETABLES = _of(
    "sdk.timetables",
    *("CronTriggerTimetable", "MultipleCronTriggerTimetable", "DeltaTriggerTimetable", "CronDataIntervalTimetable"),
    *("DeltaDataIntervalTimetable", "CronPartitionTimetable", "EventsTimetable", "AssetOrTimeSchedule"),
    *("PartitionedAssetTimetable", "PartitionedAtRuntime"),
)
_STATES = {
    "TaskInstanceState": "sdk.enums:TaskInstanceState",
    "DagRunState": "sdk.enums:DagRunState",
    "TerminalTIState": "airflow.parts.state:TerminalTIState",
    "IntermediateTIState": "airflow.parts.state:IntermediateTIState",
    "State": "airflow.parts.state:State",
    "JobState": "airflow.parts.state:JobState",
}
_TYPES = {
    **_of("sdk.types", "NOTSET", "ArgNotSet", "SET_DURING_EXECUTION", "is_arg_set"),
    "DagRunType": "sdk.execution.records:DagRunType",
    "DagRunTriggeredByType": "core.states:TriggeredBy",
    "TaskInstanceKey": "sdk.execution.records:TaskInstanceKey",
}
_CONTEXT = {
    **_of("sdk.execution.context", "Context", "context_merge", "context_to_airflow_vars"),
    **_of("sdk.execution.context", "AIRFLOW_VAR_NAME_FORMAT_MAPPING"),
    "NEVER_EXPIRE": "sdk.state_store:NEVER_EXPIRE",
    "get_current_context": "sdk.execution.current:get_current_context",
    "set_current_context": "sdk.execution.current:set_current_context",
    "context_get_outlet_events": "airflow.parts.context:context_get_outlet_events",
    "get_parsing_context": "airflow.parts.context:get_parsing_context",
    "ConnectionAccessor": "sdk.execution.accessors:ConnectionAccessor",
    "VariableAccessor": "sdk.execution.accessors:VariableAccessor",
}
_SECRETS = _of("sdk.log", "mask_secret", "redact")
_LOGGING = {**_of("sdk.log", "LoggingMixin", "remove_escape_codes"), **_SECRETS}
_FS = {"get_fs": "sdk.stores:filesystem_for", "has_fs": "sdk.stores:has_fs"}
_RETRY = _of(
    "sdk.retry_policy",
    *("RetryPolicy", "ExceptionRetryPolicy", "RetryRule", "RetryDecision", "RetryAction", "ChainRetryPolicy"),
)
_PLUGINS = _of("sdk.plugins.base", "AirflowPlugin", "AirflowPluginException")
_DEADLINE = {
    **_of("sdk.deadline", "DeadlineAlert", "DeadlineReference", "BaseDeadlineReference", "deadline_reference"),
    **_of("sdk.deadline", "AsyncCallback", "SyncCallback", "VariableInterval"),
}
_PARTITIONS = _of(
    "sdk.partitions",
    *("PartitionMapper", "IdentityMapper", "AllowedKeyMapper", "FixedKeyMapper", "ChainMapper", "ProductMapper"),
    *("FanOutMapper", "RollupMapper", "StartOfHourMapper", "StartOfDayMapper", "StartOfWeekMapper"),
    *("StartOfMonthMapper", "StartOfQuarterMapper", "StartOfYearMapper", "Window", "HourWindow", "DayWindow"),
    *("WeekWindow", "MonthWindow", "QuarterWindow", "YearWindow", "SegmentWindow", "WaitForAll", "MinimumCount"),
)
_WAIT_POLICIES = _of("sdk.partitions", "WaitPolicy", "WaitForAll", "MinimumCount")
_TEMPORAL = _of(
    *("sdk.partitions", "FanOutMapper", "StartOfHourMapper", "StartOfDayMapper", "StartOfWeekMapper", "StartOfMonthMapper"),
    *("StartOfQuarterMapper", "StartOfYearMapper"),
)
_WINDOWS = _of(
    "sdk.partitions", "Window", "HourWindow", "DayWindow", "WeekWindow", "MonthWindow", "QuarterWindow", "YearWindow", "SegmentWindow"
)
_SEVERAL_TIMES = ("CronTriggerTimetable", "DeltaTriggerTimetable", "MultipleCronTriggerTimetable", "CronPartitionTimetable")
_DECORATOR = {
    **_of("sdk.decorators", "TaskDecorator", "task_decorator_factory", "get_unique_task_id"),
    **_of("sdk.decorated", "DecoratedOperator", "DecoratedMappedOperator"),
    **_of("sdk.execution.callables", "determine_kwargs", "KeywordParameters", "make_kwargs_callable"),
    "is_async_callable": "airflow.parts.context:is_async_callable",
}
_TRIGGERS = _of(
    "sdk.triggers",
    *("BaseTrigger", "BaseEventTrigger", "TriggerEvent", "StartTriggerArgs", "TaskSuccessEvent", "TaskFailedEvent"),
    *("TaskSkippedEvent", "BaseTaskEndEvent"),
)
_TI = dict.fromkeys(("RuntimeTaskInstance", "TaskInstance"), "sdk.execution.ti:RuntimeTaskInstance")
_RUNNERS = {
    **_of("sdk.execution.callables", "ExecutionCallableRunner", "create_executable_runner"),
    "create_async_executable_runner": "sdk.execution.callables:create_executable_runner",
}
_HELPERS: Names = {"*": "airflow.parts.helpers", **_EDGES}
_MODULE_LOADING: Names = {"*": "airflow.parts.module_loading"}
_TIMEZONE: Names = {"*": "airflow.parts.timezone"}
_EXCEPTIONS: Names = {"*": "sdk.exceptions"}

_SDK: Names = {
    **_DAG,
    **_OPERATOR,
    **_SENSOR,
    **_BRANCH,
    **_TASK,
    **_EDGES,
    **_PARAM,
    **_ASSETS,
    **_TIMETABLES,
    **_RETRY,
    **_DEADLINE,
    **_PARTITIONS,
    **_TI,
    **_of("sdk.taskgroup", "TaskGroup"),
    **_of("sdk.enums", "TriggerRule", "WeightRule", "DagRunState", "TaskInstanceState"),
    **_of("sdk.execution.context", "Context"),
    "XComArg": "sdk.xcom_arg:XComArg",
    "BaseXCom": "sdk.execution.xcom:BaseXCom",
    "BaseOperatorLink": "sdk.links:BaseOperatorLink",
    "BaseHook": "sdk.hooks:BaseHook",
    "BaseNotifier": "sdk.notifier:BaseNotifier",
    "Connection": "sdk.connection:Connection",
    "Variable": "sdk.variable:Variable",
    "ObjectStoragePath": "sdk.storage:ObjectStoragePath",
    "ResumableJobMixin": "sdk.resumable:ResumableJobMixin",
    "NEVER_EXPIRE": "sdk.state_store:NEVER_EXPIRE",
    "asset": "sdk.asset_decorator:asset",
    "literal": "sdk.templating:literal",
    "result": "sdk.dag:result",
    "__version__": "sdk:__version__",
    "macros": "sdk.macros:",
    "conf": "airflow.parts.configuration:conf",
    "get_current_context": "sdk.execution.current:get_current_context",
    "get_parsing_context": "airflow.parts.context:get_parsing_context",
}

_COMPAT: Names = {
    **_EXCEPTIONS,
    **_SDK,
    **_DECORATOR,
    **_XCOM,
    **_CONTEXT,
    **_LOGGING,
    **_TYPES,
    **_of("sdk.sensor", "poke_mode_only"),
    **_of("sdk.mapping", "MappedOperator"),
    "EdgeModifier": "sdk.edges:EdgeModifier",
    **_PLUGINS,
    "Stats": "airflow.parts.context:Stats",
    "timeout": "sdk.execution.limits:timeout",
    "timezone": "airflow.parts.timezone:",
}
"""What provider packages and newer examples import by way of common-compat, whether that package is installed or not."""

MODULES: dict[str, Names] = {
    "airflow": {
        "__version__": AIRFLOW_VERSION,
        "DAG": "sdk.dag:DAG",
        **_of("sdk.assets", "Asset", "Dataset"),
        "XComArg": "sdk.xcom_arg:XComArg",
        "AirflowException": "sdk.exceptions:AirflowException",
    },
    "airflow.version": {"version": AIRFLOW_VERSION},
    "airflow.exceptions": _EXCEPTIONS,
    "airflow.configuration": {"*": "airflow.parts.configuration"},
    "airflow.macros": {"*": "sdk.macros"},
    "airflow.example_dags": {},
    "airflow.settings": {
        "AIRFLOW_HOME": "airflow.parts.configuration:AIRFLOW_HOME",
        "TIMEZONE": "airflow.parts.timezone:utc",
    },
    # the authoring API
    "airflow.sdk": _SDK,
    "airflow.sdk.exceptions": _EXCEPTIONS,
    "airflow.sdk.configuration": {"*": "airflow.parts.configuration"},
    "airflow.sdk.timezone": _TIMEZONE,
    "airflow.sdk.module_loading": _MODULE_LOADING,
    "airflow.sdk.types": {**_TYPES, **_TI},
    "airflow.sdk.log": {
        **_LOGGING,
        **_of("sdk.log", "amask_secret"),
        "relative_path_from_logger": "airflow.parts.context:relative_path_from_logger",
    },
    "airflow.sdk.bases.operator": {**_OPERATOR, **_of("sdk.edges", "chain", "chain_linear", "cross_downstream")},
    "airflow.sdk.bases.operatorlink": _of("sdk.links", "BaseOperatorLink"),
    "airflow.sdk.bases.sensor": {**_SENSOR, **_of("sdk.sensor", "poke_mode_only")},
    "airflow.sdk.bases.branch": _BRANCH,
    "airflow.sdk.bases.skipmixin": _of("sdk.operators.skipping", "SkipMixin"),
    "airflow.sdk.bases.decorator": _DECORATOR,
    "airflow.sdk.bases.hook": _of("sdk.hooks", "BaseHook"),
    "airflow.sdk.bases.notifier": _of("sdk.notifier", "BaseNotifier"),
    "airflow.sdk.bases.timetable": {"BaseTimetable": "sdk.timetables:BaseTimetable"},
    "airflow.sdk.bases.xcom": _XCOM,
    "airflow.sdk.definitions.asset": _ASSETS,
    "airflow.sdk.definitions.asset.metadata": _of("sdk.assets", "Metadata"),
    "airflow.sdk.definitions.asset.access_control": _of("sdk.assets", "AssetAccessControl"),
    "airflow.sdk.definitions.asset.decorators": {"asset": "sdk.asset_decorator:asset"},
    "airflow.sdk.definitions.baseoperator": _OPERATOR,
    "airflow.sdk.definitions.connection": _of("sdk.connection", "Connection"),
    "airflow.sdk.definitions.context": _CONTEXT,
    "airflow.sdk.definitions.dag": _DAG,
    "airflow.sdk.definitions.deadline": _DEADLINE,
    "airflow.sdk.definitions.callback": _DEADLINE,
    "airflow.sdk.definitions.decorators": _TASK,
    "airflow.sdk.definitions.edges": _EDGES,
    "airflow.sdk.definitions.mappedoperator": _of("sdk.mapping", "MappedOperator", "OperatorPartial"),
    "airflow.sdk.definitions.param": _PARAM,
    "airflow.sdk.definitions.retry_policy": _RETRY,
    "airflow.sdk.definitions.taskgroup": _GROUP,
    "airflow.sdk.definitions.template": _of("sdk.templating", "literal"),
    "airflow.sdk.definitions.variable": _of("sdk.variable", "Variable"),
    "airflow.sdk.definitions.xcom_arg": _XCOM_ARG,
    "airflow.sdk.definitions._internal.types": _TYPES,
    "airflow.sdk.definitions._internal.templater": _of("sdk.templating", "Templater", "LiteralValue"),
    "airflow.sdk.definitions._internal.abstractoperator": {"AbstractOperator": "sdk.abstract:AbstractOperator"},
    "airflow.sdk.execution_time.context": _CONTEXT,
    "airflow.sdk.execution_time.macros": {"*": "sdk.macros"},
    "airflow.sdk.execution_time.secrets_masker": _SECRETS,
    "airflow.sdk.execution_time.task_runner": _TI,
    "airflow.sdk.execution_time.timeout": {"timeout": "sdk.execution.limits:timeout"},
    "airflow.sdk.execution_time.xcom": _XCOM,
    "airflow.sdk.execution_time.callback_runner": _RUNNERS,
    "airflow.sdk.io": {"ObjectStoragePath": "sdk.storage:ObjectStoragePath", **_FS, **_STORES},
    "airflow.sdk.io.path": {"ObjectStoragePath": "sdk.storage:ObjectStoragePath"},
    "airflow.sdk.io.store": _STORES,
    "airflow.sdk.io.fs": _FS,
    "airflow.io": _FS,
    "airflow.io.storage": _STORES,
    "airflow.io.store": _STORES,
    "airflow.sdk.observability.stats": {"*": "airflow.parts.stats"},
    "airflow.sdk.serde": _of("sdk.serde", "serialize", "deserialize", "allow_class"),
    "airflow.sdk.yaml": {"*": "airflow.parts.yaml"},
    "airflow.sdk.bases.secrets_backend": _of("airflow.parts.secrets", "BaseSecretsBackend"),
    "airflow.providers.common.compat.sdk": _COMPAT,
    # paths of Airflow 2
    "airflow.models": {
        **_of("sdk.dag", "DAG"),
        **_of("sdk.operator", "BaseOperator"),
        **_TI,
        **_of("sdk.param", "Param", "DagParam"),
        "BaseOperatorLink": "sdk.links:BaseOperatorLink",
        "Connection": "sdk.connection:Connection",
        "Variable": "sdk.variable:Variable",
        "XCom": "sdk.execution.xcom:XCom",
        "XComArg": "sdk.xcom_arg:XComArg",
        "MappedOperator": "sdk.mapping:MappedOperator",
        "DagRun": "sdk.execution.records:DagRun",
        "ID_LEN": 250,
    },
    "airflow.models.baseoperator": {**_OPERATOR, **_of("sdk.edges", "chain", "chain_linear", "cross_downstream")},
    "airflow.models.baseoperatorlink": _of("sdk.links", "BaseOperatorLink"),
    "airflow.models.connection": _of("sdk.connection", "Connection"),
    "airflow.models.dag": {**_DAG, "DagContext": "sdk.stack:DagContext"},
    "airflow.models.dagrun": _of("sdk.execution.records", "DagRun", "DagRunType"),
    "airflow.models.mappedoperator": _of("sdk.mapping", "MappedOperator", "OperatorPartial"),
    "airflow.models.param": _PARAM,
    "airflow.models.skipmixin": _of("sdk.operators.skipping", "SkipMixin"),
    "airflow.models.taskinstance": {
        **_TI,
        **_of("sdk.execution.current", "get_current_context", "set_current_context"),
        "TaskInstanceKey": "sdk.execution.records:TaskInstanceKey",
    },
    "airflow.models.taskinstancekey": {"TaskInstanceKey": "sdk.execution.records:TaskInstanceKey"},
    "airflow.models.taskmixin": {"DAGNode": "sdk.abstract:AbstractOperator", "TaskMixin": "sdk.dependency:Dependable"},
    "airflow.models.variable": _of("sdk.variable", "Variable"),
    "airflow.models.xcom": _XCOM,
    "airflow.models.xcom_arg": _XCOM_ARG,
    "airflow.models.asset": {},
    "airflow.datasets": {
        **_ASSETS,
        "DatasetAlias": "sdk.assets:AssetAlias",
        "DatasetAll": "sdk.assets:AssetAll",
        "DatasetAny": "sdk.assets:AssetAny",
    },
    "airflow.datasets.metadata": _of("sdk.assets", "Metadata"),
    "airflow.assets": _ASSETS,
    "airflow.decorators": _TASK,
    "airflow.decorators.base": _DECORATOR,
    "airflow.decorators.task_group": _GROUP,
    "airflow.hooks.base": _of("sdk.hooks", "BaseHook"),
    "airflow.hooks.base_hook": _of("sdk.hooks", "BaseHook"),
    "airflow.hooks.subprocess": {"*": "sdk.operators.subprocess"},
    "airflow.io.path": {"ObjectStoragePath": "sdk.storage:ObjectStoragePath"},
    "airflow.notifications.basenotifier": _of("sdk.notifier", "BaseNotifier"),
    "airflow.plugins_manager": _PLUGINS,
    "airflow.sdk.plugins_manager": _PLUGINS,
    "airflow.listeners": _of("sdk.plugins.hooks", "hookimpl", "get_listener_manager"),
    "airflow.listeners.listener": _of("sdk.plugins.hooks", "get_listener_manager", "ListenerManager"),
    "airflow.sdk.listener": _of("sdk.plugins.hooks", "get_listener_manager"),
    "airflow.policies": {"hookimpl": "sdk.plugins.policies:hookimpl"},
    "airflow.task": {},
    "airflow.task.priority_strategy": _of("sdk.plugins.priority", "PriorityWeightStrategy"),
    "airflow.sdk.definitions.priority_strategy": _of("sdk.plugins.priority", "PriorityWeightStrategy"),
    "airflow.timetables": {},
    "airflow.timetables.base": {
        "Timetable": "sdk.timetables:Timetable",
        **_of("sdk.timetables", "DagRunInfo", "TimeRestriction", "DataInterval"),
    },
    "airflow.timetables.interval": _of("sdk.timetables", "CronDataIntervalTimetable", "DeltaDataIntervalTimetable"),
    "airflow.timetables.trigger": _of("sdk.timetables", *_SEVERAL_TIMES),
    "airflow.sdk.definitions.timetables.trigger": _of("sdk.timetables", *_SEVERAL_TIMES),
    "airflow.sdk.definitions.timetables.interval": _of("sdk.timetables", "CronDataIntervalTimetable", "DeltaDataIntervalTimetable"),
    "airflow.sdk.definitions.timetables.events": _of("sdk.timetables", "EventsTimetable"),
    "airflow.sdk.definitions.timetables.simple": _of("sdk.timetables", "NullTimetable", "OnceTimetable", "ContinuousTimetable"),
    "airflow.sdk.definitions.timetables.assets": _of(
        "sdk.timetables", "AssetTriggeredTimetable", "PartitionedAssetTimetable", "PartitionedAtRuntime", "AssetOrTimeSchedule"
    ),
    **{
        f"{package}{module}": names
        for package in ("airflow.partition_mappers", "airflow.sdk.definitions.partition_mappers")
        for module, names in {
            "": _PARTITIONS,
            ".base": _of("sdk.partitions", "PartitionMapper", "RollupMapper"),
            ".temporal": _TEMPORAL,
            ".window": _WINDOWS,
            ".wait_policy": _WAIT_POLICIES,
            ".identity": _of("sdk.partitions", "IdentityMapper"),
            ".product": _of("sdk.partitions", "ProductMapper"),
            ".chain": _of("sdk.partitions", "ChainMapper"),
            ".fixed_key": _of("sdk.partitions", "FixedKeyMapper"),
            ".allowed_key": _of("sdk.partitions", "AllowedKeyMapper"),
        }.items()
    },
    "airflow.timetables.events": _of("sdk.timetables", "EventsTimetable"),
    "airflow.timetables.assets": _of("sdk.timetables", "AssetOrTimeSchedule"),
    "airflow.timetables.datasets": {"DatasetOrTimeSchedule": "sdk.timetables:AssetOrTimeSchedule"},
    "airflow.timetables.simple": _of(
        *("sdk.timetables", "NullTimetable", "OnceTimetable", "ContinuousTimetable", "AssetTriggeredTimetable"),
        *("PartitionedAtRuntime", "PartitionedAssetTimetable"),
    ),
    "airflow.triggers": {},
    "airflow.triggers.base": _TRIGGERS,
    "airflow.sdk.bases.trigger": _TRIGGERS,
    "airflow.utils": {},
    "airflow.utils.context": _CONTEXT,
    "airflow.utils.dates": _of("airflow.parts.helpers", "days_ago"),
    "airflow.utils.deprecation_tools": _of("airflow.parts.helpers", "add_deprecated_classes"),
    "airflow.utils.edgemodifier": _EDGES,
    "airflow.utils.hashlib_wrapper": _of("airflow.parts.helpers", "md5"),
    "airflow.utils.helpers": _HELPERS,
    "airflow.utils.json": _of("airflow.parts.json", "XComEncoder", "XComDecoder"),
    "airflow.utils.log.logging_mixin": _LOGGING,
    "airflow.utils.log.secrets_masker": _SECRETS,
    "airflow.utils.module_loading": _MODULE_LOADING,
    "airflow.utils.operator_helpers": {**_DECORATOR, **_RUNNERS, **_CONTEXT},
    "airflow.utils.platform": _of("airflow.parts.helpers", "getuser"),
    "airflow.utils.process_utils": _of("airflow.parts.helpers", "patch_environ"),
    **{
        module: {
            "setup_task": "sdk.decorators:setup",
            "teardown_task": "sdk.decorators:teardown",
            **_of("sdk.setup_teardown", "ContextWrapper", "context_wrapper"),
        }
        for module in ("airflow.sdk.definitions.decorators.setup_teardown", "airflow.decorators.setup_teardown")
    },
    "airflow.sdk.definitions._internal.setup_teardown": {"SetupTeardownContext": "sdk.setup_teardown:SetupTeardownContext"},
    "airflow.utils.setup_teardown": {"SetupTeardownContext": "sdk.setup_teardown:SetupTeardownContext"},
    "airflow.utils.state": _STATES,
    "airflow.utils.strings": _of("airflow.parts.helpers", "to_boolean"),
    "airflow.utils.task_group": _GROUP,
    "airflow.utils.timezone": _TIMEZONE,
    "airflow.utils.trigger_rule": _of("sdk.enums", "TriggerRule"),
    "airflow.utils.types": _TYPES,
    "airflow.utils.weekday": {"WeekDay": "sdk.operators.weekday:WeekDay"},
    "airflow.utils.weight_rule": _of("sdk.enums", "WeightRule"),
    "airflow.utils.xcom": {"XCOM_RETURN_KEY": "sdk.execution.xcom:XCOM_RETURN_KEY"},
    "airflow.task.trigger_rule": _of("sdk.enums", "TriggerRule"),
    "airflow.task.weight_rule": _of("sdk.enums", "WeightRule"),
    **STANDARD,
}
"""Module → its names."""
for _module, _names in PROVIDERS.items():
    MODULES[_module] = {**_names, **MODULES.get(_module, {})}


def _packages() -> frozenset[str]:
    found = set(MODULES)
    for name in MODULES:
        parts = name.split(".")
        found.update(".".join(parts[:i]) for i in range(1, len(parts)))
    return frozenset(found | {"airflow.providers"})


PACKAGES = _packages()
"""The modules of the table and everything above them."""


def public_module(cls: type) -> str:
    """The module under which DAG files know a class of Trackside; its own module if they do not."""
    wanted = f"{cls.__module__.removeprefix('trackside.')}:{cls.__name__}"
    canonical = ("airflow.sdk.bases", "airflow.providers.standard", "airflow.sdk.definitions")
    for module, names in MODULES.items():
        if module.startswith(canonical) and names.get(cls.__name__) == wanted:
            return module
    return cls.__module__
