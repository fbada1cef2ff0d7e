"""The authoring API: what `from airflow.sdk import …` and `from trackside.sdk import …` give.

Names are resolved when first used, so that importing this package costs nothing. The table says where each lives; a name
whose module does not exist yet raises an error that says so.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "1.3.2"

_NAMES: dict[str, str] = {}


def _table(module: str, names: str) -> None:
    _NAMES.update(dict.fromkeys(names.split(), module))


_table("dag", "DAG dag")
_table("decorators", "task setup teardown result")
_table("operator", "BaseOperator BaseAsyncOperator")
_table("sensor", "BaseSensorOperator PokeReturnValue")
_table("operators.branch", "BaseBranchOperator")
_table("operators.skipping", "BranchMixIn SkipMixin")
_table("resumable", "ResumableJobMixin")
_table("links", "BaseOperatorLink")
_table("taskgroup", "TaskGroup task_group")
_table("edges", "Label EdgeModifier chain chain_linear cross_downstream")
_table("xcom_arg", "XComArg")
_table("templating", "literal")
_table("param", "Param ParamsDict")
_table("connection", "Connection")
_table("variable", "Variable")
_table("execution.xcom", "BaseXCom XCom")
_table("object_storage", "ObjectStoragePath")
_table("hooks", "BaseHook")
_table("notifier", "BaseNotifier")
_table("execution.context", "Context get_current_context get_parsing_context")
_table("execution.ti", "TaskInstance")
_table("execution.state_store", "NEVER_EXPIRE")
_table("enums", "DagRunState TaskInstanceState TriggerRule WeightRule")
_table("assets", "Asset AssetAlias AssetAll AssetAny AssetWatcher AssetAccessControl Metadata Dataset Model")
_table("asset_decorator", "asset")
_table(
    "partitions",
    "PartitionMapper IdentityMapper AllowedKeyMapper FixedKeyMapper ChainMapper ProductMapper FanOutMapper RollupMapper "
    "StartOfHourMapper StartOfDayMapper StartOfWeekMapper StartOfMonthMapper StartOfQuarterMapper StartOfYearMapper "
    "Window HourWindow DayWindow WeekWindow MonthWindow QuarterWindow YearWindow SegmentWindow WaitForAll MinimumCount",
)
_table(
    "timetables",
    "CronTriggerTimetable MultipleCronTriggerTimetable DeltaTriggerTimetable CronDataIntervalTimetable "
    "DeltaDataIntervalTimetable CronPartitionTimetable EventsTimetable AssetOrTimeSchedule PartitionedAssetTimetable "
    "PartitionedAtRuntime",
)
_table("deadline", "DeadlineAlert DeadlineReference BaseDeadlineReference deadline_reference AsyncCallback SyncCallback")
_table(
    "retry_policy",
    "RetryPolicy ExceptionRetryPolicy ChainRetryPolicy RetryRule RetryDecision RetryAction",
)
_MODULES = {"macros": "macros", "conf": "configuration", "lineage": "lineage"}
"""Names that are modules (or, for conf, an object of the same name inside)."""

__all__ = sorted([*_NAMES, *_MODULES])  # noqa: PLE0605  # the table is the list


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = _import(name, _MODULES[name])
        if name == "conf":
            value = value.conf
    elif name in _NAMES:
        try:
            value = getattr(_import(name, _NAMES[name]), name)
        except AttributeError as error:
            raise AttributeError(f"airflow.sdk.{name} is not available in Trackside yet") from error
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def _import(name: str, module: str) -> Any:
    full = f"{__name__}.{module}"
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name and (full == error.name or full.startswith(f"{error.name}.")):
            raise AttributeError(f"airflow.sdk.{name} is not available in Trackside yet") from None
        raise


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
