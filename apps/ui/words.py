"""How pages say things: states, durations, moments. Plain functions; `templatetags/ui.py` wraps them for templates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from statistics import median
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils import timezone

LABELS = {
    "none": "No status",
    "scheduled": "Scheduled",
    "queued": "Queued",
    "running": "Running",
    "success": "Success",
    "failed": "Failed",
    "up_for_retry": "Up for retry",
    "up_for_reschedule": "Up for reschedule",
    "deferred": "Deferred",
    "awaiting_input": "Awaiting a person",
    "restarting": "Restarting",
    "skipped": "Skipped",
    "upstream_failed": "Upstream failed",
    "removed": "Removed",
    "paused": "Paused",
    "parked": "Waiting",
    "fenced": "Ended by the server",
    "lost": "Lost",
}
"""The one name of each state; REST and the command line use the raw word."""

GLYPHS = {"parked": "deferred", "fenced": "removed", "lost": "failed"}
"""Try states borrow the glyph of the task state they resemble."""

WORST_FIRST = (
    "failed", "upstream_failed", "up_for_retry", "awaiting_input", "running", "restarting", "queued", "deferred",
    "up_for_reschedule", "scheduled", "skipped", "success", "removed", "none",
)  # fmt: skip
"""Which state stands for a group of them. The grid island holds the same order (`frontend/src/lib/states.ts`)."""

RUN_TYPES = {
    "scheduled": "by schedule",
    "manual": "by hand",
    "backfill": "by a backfill",
    "operator_triggered": "by another DAG",
    "asset_triggered": "by new data",
    "asset_materialization": "for an asset",
}


def label(state: str | None) -> str:
    """Words for a state; null is the state "none"."""
    state = state or "none"
    return LABELS.get(state, state.replace("_", " ").capitalize())


def glyph(state: str | None) -> str:
    """Name of the icon that draws a state."""
    state = state or "none"
    return GLYPHS.get(state, state)


def worst(states: set[str]) -> str:
    """The state that stands for many."""
    return next((s for s in WORST_FIRST if s in states), "none")


def duration(seconds: float | None) -> str:
    """`0.4 s`, `41 s`, `11 min 32 s`, `2 h 05 min`, `3 d 4 h`: two units at most."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s" if whole % 60 else f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min" if whole % 3600 >= 60 else f"{whole // 3600} h"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def rough(seconds: float) -> str:
    """One unit, for distances in time: `12 s`, `28 min`, `9 h`, `15 d`."""
    seconds = abs(seconds)
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < limit:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds / 86_400)} d"


def relative(moment: datetime, now: datetime | None = None) -> str:
    """`21 min ago`, `in 28 min`, `now`."""
    distance = (moment - (now or timezone.now())).total_seconds()
    if abs(distance) < 1:
        return "now"
    return f"in {rough(distance)}" if distance > 0 else f"{rough(distance)} ago"


def moment(value: datetime, zone: tzinfo | None = None, *, seconds: bool | None = None, now: datetime | None = None) -> str:
    """`Wed 18 Nov 15:00`, with seconds when they are not zero and the year when it is not this one."""
    local = value.astimezone(zone or timezone.get_current_timezone())
    show_seconds = bool(local.second) if seconds is None else seconds
    year = "" if local.year == (now or timezone.now()).year else f" {local.year}"
    return (
        f"{local:%a} {local.day} {local:%b}{year} {local:%H:%M:%S}"
        if show_seconds
        else f"{local:%a} {local.day} {local:%b}{year} {local:%H:%M}"
    )


def clock(value: datetime) -> str:
    """`15:00` in the reader's zone."""
    return f"{value.astimezone(timezone.get_current_timezone()):%H:%M}"


def full(value: datetime, dag_zone: str | None = None) -> str:
    """The moment in up to three zones: mine, UTC, the DAG's. For hints on hover and focus."""
    mine = timezone.get_current_timezone()
    lines = [f"{moment(value, mine, seconds=True)} {zone_name(value, mine)}"]
    if zone_name(value, mine) != "UTC":
        lines.append(f"{moment(value, UTC, seconds=True)} UTC")
    other = zone(dag_zone) if dag_zone else None
    if other and value.astimezone(other).utcoffset() not in (value.astimezone(mine).utcoffset(), timedelta(0)):
        lines.append(f"{moment(value, other, seconds=True)} {zone_name(value, other)} (the DAG's)")
    return "; ".join(lines)


def zone_name(value: datetime, tz: tzinfo) -> str:
    """Short name of a zone at that moment: `CET`, `UTC`."""
    return value.astimezone(tz).tzname() or "UTC"


def zone(name: str | None) -> tzinfo | None:
    """The zone of that IANA name, None if nobody knows it."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def usual(durations: list[float]) -> float | None:
    """What a run usually takes: the median."""
    return median(durations) if durations else None


def number(value: int) -> str:
    """With thousands separators."""
    return f"{value:,}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 task`, `146 tasks`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"
