"""How pages say things: states, durations, moments. Plain functions; `templatetags/ui.py` wraps them for templates."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from statistics import median
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils import dates, timezone
from django.utils.functional import Promise
from django.utils.translation import get_language, ngettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

LABELS: dict[str, str | Promise] = {
    "none": _("No status"),
    "scheduled": _("Scheduled"),
    "queued": _("Queued"),
    "running": _("Running"),
    "success": _("Success"),
    "failed": _("Failed"),
    "up_for_retry": _("Up for retry"),
    "up_for_reschedule": _("Up for reschedule"),
    "deferred": _("Deferred"),
    "awaiting_input": _("Awaiting a person"),
    "restarting": _("Restarting"),
    "skipped": _("Skipped"),
    "upstream_failed": _("Upstream failed"),
    "removed": _("Removed"),
    "paused": _("Paused"),
    "parked": _("Waiting"),
    "fenced": _("Ended by the server"),
    "lost": _("Lost"),
}
"""The one name of each state; REST and the command line use the raw word."""

GLYPHS = {"parked": "deferred", "fenced": "removed", "lost": "failed"}
"""Try states borrow the glyph of the task state they resemble."""

WORST_FIRST = (
    "failed", "upstream_failed", "up_for_retry", "awaiting_input", "running", "restarting", "queued", "deferred",
    "up_for_reschedule", "scheduled", "skipped", "success", "removed", "none",
)  # fmt: skip
"""Which state stands for a group of them. The grid island holds the same order (`frontend/src/lib/states.ts`)."""

RUN_TYPES: dict[str, str | Promise] = {
    "scheduled": _("by schedule"),
    "manual": _("by hand"),
    "backfill": _("by a backfill"),
    "operator_triggered": _("by another DAG"),
    "asset_triggered": _("by new data"),
    "asset_materialization": _("for an asset"),
}


ACTIONS: dict[str, str | Promise] = {
    "read": pgettext_lazy("what one may do", "read"),
    "edit": pgettext_lazy("what one may do", "edit"),
    "create": pgettext_lazy("what one may do", "create"),
    "trigger": pgettext_lazy("what one may do", "trigger"),
    "delete": pgettext_lazy("what one may do", "delete"),
}
"""Rights of `policy`, within a sentence."""
THINGS: dict[str, str | Promise] = {
    "dag": pgettext_lazy("what a right is about", "DAGs"),
    "run": pgettext_lazy("what a right is about", "runs"),
    "task": pgettext_lazy("what a right is about", "tasks"),
    "log": pgettext_lazy("what a right is about", "logs"),
    "xcom": pgettext_lazy("what a right is about", "XComs"),
    "version": pgettext_lazy("what a right is about", "versions"),
    "source": pgettext_lazy("what a right is about", "sources"),
    "hitl": pgettext_lazy("what a right is about", "questions"),
    "backfill": pgettext_lazy("what a right is about", "backfills"),
    "asset": pgettext_lazy("what a right is about", "assets"),
    "audit": pgettext_lazy("what a right is about", "audits"),
    "monitor": pgettext_lazy("what a right is about", "monitors"),
}
"""Kinds of things that pages ask a right for; a kind without an entry is named as the policy does."""


MARKS = {"en": (",", "."), "de": (".", ",")}
"""Thousands separator and decimal mark by language; English's where a language is missing."""


def label(state: str | None) -> str:
    """Words for a state; null is the state "none"."""
    state = state or "none"
    return str(LABELS.get(state, state.replace("_", " ").capitalize()))


def said(state: str | None) -> str:
    """The same within a sentence. Only the first letter changes: other languages write some words large."""
    text = label(state)
    return text[:1].lower() + text[1:]


def run_type(name: str) -> str:
    """How a run came to be."""
    return str(RUN_TYPES.get(name, name))


def action(name: str) -> str:
    """What one may or may not do."""
    return str(ACTIONS.get(name, name))


def things(kind: str) -> str:
    """To what."""
    return str(THINGS.get(kind, kind.replace("_", " ") + "s"))


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
        return f"{seconds:.1f} s".replace(".", _marks()[1])
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
        return pgettext("moment", "now")
    if distance > 0:
        return pgettext("moment", "in %(time)s") % {"time": rough(distance)}
    return pgettext("moment", "%(time)s ago") % {"time": rough(distance)}


def moment(value: datetime, zone: tzinfo | None = None, *, seconds: bool | None = None, now: datetime | None = None) -> str:
    """`Wed 18 Nov 15:00`, with seconds when they are not zero and the year when it is not this one."""
    local = value.astimezone(zone or timezone.get_current_timezone())
    show_seconds = bool(local.second) if seconds is None else seconds
    year = "" if local.year == (now or timezone.now()).year else f" {local.year}"
    return f"{dates.WEEKDAYS_ABBR[local.weekday()]} {day_of(local)}{year} {local:{'%H:%M:%S' if show_seconds else '%H:%M'}}"


def day_of(value: date) -> str:
    """`18 Nov`."""
    return f"{value.day} {str(dates.MONTHS_3[value.month]).capitalize()}"


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
        whose = _("(the DAG's)")
        lines.append(f"{moment(value, other, seconds=True)} {zone_name(value, other)} {whose}")
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


def _marks() -> tuple[str, str]:
    """Thousands separator and decimal mark."""
    return MARKS.get(get_language() or "en", MARKS["en"])


def number(value: int) -> str:
    """With thousands separators."""
    return f"{value:,}".replace(",", _marks()[0])


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 task`, `146 tasks`. A new noun needs a line in `_nouns`."""
    return ngettext(f"%(n)s {one}", f"%(n)s {many or one + 's'}", count) % {"n": number(count)}


def _nouns(n: int) -> list[str]:
    """What `plural` counts, for the tool that finds texts."""
    return [
        ngettext("%(n)s DAG", "%(n)s DAGs", n),
        ngettext("%(n)s DAG fails", "%(n)s DAGs fail", n),
        ngettext("%(n)s data set", "%(n)s data sets", n),
        ngettext("%(n)s error", "%(n)s errors", n),
        ngettext("%(n)s failed task", "%(n)s failed tasks", n),
        ngettext("%(n)s file does not load", "%(n)s files do not load", n),
        ngettext("%(n)s log", "%(n)s logs", n),
        ngettext("%(n)s pass", "%(n)s passes", n),
        ngettext("%(n)s pod", "%(n)s pods", n),
        ngettext("%(n)s process", "%(n)s processes", n),
        ngettext("%(n)s process is", "%(n)s processes are", n),
        ngettext("%(n)s queued run", "%(n)s queued runs", n),
        ngettext("%(n)s run", "%(n)s runs", n),
        ngettext("%(n)s running task", "%(n)s running tasks", n),
        ngettext("%(n)s slot", "%(n)s slots", n),
        ngettext("%(n)s task", "%(n)s tasks", n),
        ngettext("%(n)s task is stuck", "%(n)s tasks are stuck", n),
        ngettext("%(n)s task waits for an answer", "%(n)s tasks wait for an answer", n),
        ngettext("%(n)s task instance", "%(n)s task instances", n),
        ngettext("%(n)s trigger", "%(n)s triggers", n),
    ]
