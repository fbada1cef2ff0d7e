"""Partitions: from the keys of an upstream asset to the keys of a consumer's runs (rows 1.221-1.224). Pure.

* `mappers`  – one key to one or more: identity, allowed, fixed, chain, product, rollup, fan-out
* `temporal` – keys that are moments: to the start of the hour, day, week, month, quarter or year
* `windows`  – the keys that belong together; `waiting` – how many of them a rollup waits for
* `timetable` – which mapper a `PartitionedAssetTimetable` has for which asset, read from its stored form

DAG files write the same classes (`trackside.sdk.partitions`). Subclasses of the user's are kept by class path and never
run here: `stored.Elsewhere` stands for them, and a child is asked (`apps.runs.assets.own_mappers`).
"""

from trackside.core.partitions.mappers import (
    AllowedKeyMapper,
    ChainMapper,
    FanOutMapper,
    FixedKeyMapper,
    IdentityMapper,
    PartitionMapper,
    ProductMapper,
    RollupMapper,
)
from trackside.core.partitions.stored import Elsewhere, from_spec
from trackside.core.partitions.temporal import (
    StartOfDayMapper,
    StartOfHourMapper,
    StartOfMonthMapper,
    StartOfQuarterMapper,
    StartOfWeekMapper,
    StartOfYearMapper,
)
from trackside.core.partitions.timetable import Mapping, check_key
from trackside.core.partitions.waiting import MinimumCount, WaitForAll, WaitPolicy
from trackside.core.partitions.windows import (
    DayWindow,
    HourWindow,
    MonthWindow,
    QuarterWindow,
    SegmentWindow,
    WeekWindow,
    Window,
    YearWindow,
)

__all__ = [
    "AllowedKeyMapper", "ChainMapper", "DayWindow", "Elsewhere", "FanOutMapper", "FixedKeyMapper", "HourWindow", "IdentityMapper",
    "Mapping", "MinimumCount", "MonthWindow", "PartitionMapper", "ProductMapper", "QuarterWindow", "RollupMapper", "SegmentWindow",
    "StartOfDayMapper", "StartOfHourMapper", "StartOfMonthMapper", "StartOfQuarterMapper", "StartOfWeekMapper", "StartOfYearMapper",
    "WaitForAll", "WaitPolicy", "WeekWindow", "Window", "YearWindow", "check_key", "from_spec",
]  # fmt: skip
