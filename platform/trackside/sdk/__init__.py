"""The authoring API: what `from airflow.sdk import …` and `from trackside.sdk import …` give.

Names are resolved when first used, so that importing this package costs nothing. The table says where each lives; a name
whose module does not exist yet raises an error that says so.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
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
_table("storage", "ObjectStoragePath")
_table("hooks", "BaseHook")
_table("notifier", "BaseNotifier")
_table("execution.context", "Context")
_table("execution.current", "get_current_context")
_table("execution.ti", "RuntimeTaskInstance")
_table("state_store", "NEVER_EXPIRE")
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
_ELSEWHERE = {
    "conf": "trackside.airflow.parts.configuration:conf",
    "get_parsing_context": "trackside.airflow.parts.context:get_parsing_context",
    "TaskInstance": "trackside.sdk.execution.ti:RuntimeTaskInstance",
    "macros": "trackside.sdk.macros:",
    "lineage": "trackside.sdk.lineage:",
}
"""Names that are called differently where they live, or are modules."""

__all__ = sorted([*_NAMES, *_ELSEWHERE])


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        module, _, attribute = _ELSEWHERE[name].partition(":")
    elif name in _NAMES:
        module, attribute = f"{__name__}.{_NAMES[name]}", name
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = _import(name, module)
    if attribute:
        if not hasattr(value, attribute):
            raise AttributeError(f"airflow.sdk.{name} is not available in Trackside yet")
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def _import(name: str, full: str) -> Any:
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name and (full == error.name or full.startswith(f"{error.name}.")):
            raise AttributeError(f"airflow.sdk.{name} is not available in Trackside yet") from None
        raise


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package: importing the submodule `dag` must not put it in the place of the decorator `dag`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _NAMES and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
