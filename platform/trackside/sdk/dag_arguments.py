"""Checks of the arguments of a DAG: the value in its final type, or an error that says what to write instead.

For `dag.py`.
"""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trackside.core.states import RunType
from trackside.core.timetables import InvalidSchedule, PlannedElsewhere, Restriction, from_dict
from trackside.sdk.timetables import BaseTimetable, as_timetable

TAG_MAX_LEN = 100
_LINK = re.compile(r"^(https?://[^\s/]+.*|mailto:[^\s@]+@[^\s@]+)$")

GONE = {
    "schedule_interval": "schedule=",
    "timetable": "schedule=",
    "concurrency": "max_active_tasks=",
    "default_view": "nothing: it has no effect since Airflow 3",
    "orientation": "nothing: it has no effect since Airflow 3",
    "full_filepath": "nothing",
    "fail_stop": "fail_fast=",
    "sla": "deadline=",
}
"""Arguments of earlier Airflow versions and what to write now."""


def no_unknown(dag_id: Any, unknown: dict[str, Any], sla_miss_callback: Any) -> None:
    """Refuse arguments nobody takes; warn about those without effect."""
    if sla_miss_callback is not None:
        warnings.warn("sla_miss_callback= has no effect: SLAs are gone since Airflow 3; use deadline=", UserWarning, stacklevel=3)
    if not unknown:
        return
    words = []
    for name in unknown:
        hint = f" (write {GONE[name]} instead)" if name in GONE else ""
        words.append(f"{name!r}{hint}")
    raise TypeError(f"DAG {dag_id!r} got an unexpected keyword argument {', '.join(words)}")


def default_args(value: Any) -> dict[str, Any]:
    """A copy; moments are made aware."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"default_args must be a dict, not {type(value).__name__}")
    from trackside.sdk.arguments import moment

    found = dict(value)
    for name in ("start_date", "end_date"):
        if found.get(name) is not None and isinstance(found[name], str):
            found[name] = moment(name, found[name])
    return found


def timezone_of(start_date: Any, defaults: Mapping[str, Any]) -> dt.tzinfo:
    """The DAG's time zone: that of its start date, else UTC."""
    date = start_date or defaults.get("start_date")
    zone = getattr(date, "tzinfo", None)
    return zone if isinstance(zone, dt.tzinfo) else dt.UTC


def timetable(schedule: Any, timezone: dt.tzinfo) -> BaseTimetable:
    """The timetable of any `schedule=` value (rows 1.009-1.011). Raises ValueError naming what is wrong."""
    try:
        return as_timetable(schedule, timezone)
    except InvalidSchedule as error:
        raise ValueError(str(error)) from None


def limit(name: str, value: Any, default: int) -> int:
    """A whole number, 0 or more."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be a whole number of 0 or more, not {value!r}")
    return value


def active_runs(value: Any, default: int, found: BaseTimetable) -> int:
    """max_active_runs, within what the schedule allows."""
    most = found.active_runs_limit
    if value is None:
        return default if most is None else min(default, most)
    number = limit("max_active_runs", value, default)
    if most is not None and number > most:
        raise ValueError(f"Invalid max_active_runs: {type(found).__name__} requires max_active_runs <= {most}, not {number}")
    return number


def catchup(dag_id: str, value: bool, start_date: Any, found: BaseTimetable) -> None:
    """Catching up needs somewhere to start."""
    if value and start_date is None and found.can_be_scheduled:
        raise ValueError(f"DAG {dag_id!r}: catchup=True needs a start_date; without one there is no past to catch up with")


def reachable(dag_id: str, start: dt.datetime | None, end: dt.datetime | None, catchup: bool, found: BaseTimetable) -> None:
    """A schedule must be able to compute with its start date: next to the first and last moment that a date can be, most cannot.

    Asked in the years 1 and 9999 only, and never of classes of the user's.
    """
    if start is None or 1 < start.year < 9999:
        return
    try:
        from_dict(found.to_spec()).next_run(last=None, restriction=Restriction(start, end, catchup), now=dt.datetime.now(dt.UTC))
    except (OverflowError, ValueError) as error:
        raise ValueError(
            f"DAG {dag_id!r}: its schedule cannot be computed from start_date {start.isoformat()} ({error}); "
            "choose a start_date in the years 2 to 9998"
        ) from None
    except PlannedElsewhere:
        return


def searchpath(value: Any) -> list[str] | None:
    """Folders of template files."""
    if value is None:
        return None
    return [str(value)] if isinstance(value, str | Path) else [str(path) for path in value]


def doc_md(value: str | None, fileloc: str) -> str | None:
    """Markdown as it is; the name of an `.md` file is replaced by its content, if it can be read."""
    if value is None:
        return None
    if not value.endswith(".md") or "\n" in value:
        from inspect import cleandoc

        return cleandoc(value) if "\n" in value else value
    for folder in (Path.cwd(), Path(fileloc).parent):
        try:
            return (folder / value).read_text(encoding="utf-8")
        except OSError:
            continue
    return value


def deadlines(value: Any) -> list[Any]:
    """One DeadlineAlert or several, as a list."""
    if value is None:
        return []
    found = list(value) if isinstance(value, Iterable) else [value]
    from trackside.sdk.deadline import DeadlineAlert

    for item in found:
        if not isinstance(item, DeadlineAlert):
            raise TypeError(f"deadline must be a DeadlineAlert or a list of them, not {type(item).__name__}")
    return found


def access_control(value: Any) -> dict[str, dict[str, list[str]]] | None:
    """role → resource → permissions; a plain list of permissions is about the resource DAGs."""
    if not value:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f"access_control must be a dict of role to permissions, not {type(value).__name__}")
    found: dict[str, dict[str, list[str]]] = {}
    for role, permissions in value.items():
        grants = permissions if isinstance(permissions, Mapping) else {"DAGs": permissions}
        found[str(role)] = {str(resource): sorted(map(str, actions)) for resource, actions in grants.items()}
    return found


def tags(value: Any) -> set[str]:
    """A set of short strings."""
    if value is None:
        return set()
    if isinstance(value, str):
        raise TypeError(f"tags must be a list of strings, not the string {value!r}; write tags=[{value!r}]")
    found = set(value)
    for tag in found:
        if not isinstance(tag, str):
            raise TypeError(f"tags must be strings, not {type(tag).__name__}: {tag!r}")
        if len(tag) > TAG_MAX_LEN:
            raise ValueError(f"tag cannot be longer than {TAG_MAX_LEN} characters: {tag[:30]}…")
    return found


def owner_links(value: Any) -> dict[str, str]:
    """owner → web or mail address."""
    found = dict(value or {})
    for owner, link in found.items():
        if not isinstance(link, str) or not _LINK.match(link):
            raise ValueError(f"Bad formatted link of owner {owner!r}: {link!r}; write http(s)://… or mailto:name@host")
    return found


def allowed_run_types(dag_id: str, value: Any, found: BaseTimetable) -> list[str] | None:
    """Run types that may be created; must contain the one the schedule makes."""
    if value is None:
        return None
    items = [value] if isinstance(value, str) else list(value)
    known = {str(t.value) for t in RunType}
    names = sorted({str(getattr(item, "value", item)) for item in items})
    for name in names:
        if name not in known:
            raise ValueError(f"allowed_run_types: {name!r} does not exist; use {', '.join(sorted(known))}")
    needed = found.run_type
    if needed not in names:
        raise ValueError(f"DAG {dag_id!r}: allowed_run_types must contain {needed!r}, the type its schedule makes")
    return names
