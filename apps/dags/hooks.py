"""What the catalogue and the DAG processor need from the layer above (`apps.runs`), which they must not import.

`apps.runs` calls `register(…)` once, in its `AppConfig.ready`. Until then the defaults answer: no runs exist, every
version may be in use, nobody listens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any
from uuid import UUID

from trackside.core.timetables import DataInterval

LastAutomatedInterval = Callable[[str], DataInterval | None]
VersionsInUse = Callable[[Collection[UUID]], Iterable[UUID]]
DagChanged = Callable[[Collection[str], str], None]
ProcessBeat = Callable[[str, dict[str, Any]], None]
ProcessEnd = Callable[[str], None]
ProcessStart = Callable[[str], None]
UserEvent = Callable[[str, dict[str, Any], dict[str, Any]], None]

_last_automated_interval: LastAutomatedInterval = lambda dag_id: None  # noqa: E731
_versions_in_use: VersionsInUse = lambda version_ids: version_ids  # noqa: E731
_dag_changed: DagChanged = lambda dag_ids, verb: None  # noqa: E731
_process_beat: ProcessBeat = lambda kind, info: None  # noqa: E731
_process_end: ProcessEnd = lambda kind: None  # noqa: E731
_process_start: ProcessStart = lambda kind: None  # noqa: E731
_user_event: UserEvent = lambda event, arguments, plain: None  # noqa: E731


def register(
    *,
    last_automated_interval: LastAutomatedInterval | None = None,
    versions_in_use: VersionsInUse | None = None,
    dag_changed: DagChanged | None = None,
    process_beat: ProcessBeat | None = None,
    process_end: ProcessEnd | None = None,
    process_start: ProcessStart | None = None,
    user_event: UserEvent | None = None,
) -> None:
    """Replace the given hooks; the others stay. See the functions of the same names for what each must do."""
    global _last_automated_interval, _versions_in_use, _dag_changed, _process_beat, _process_end, _process_start, _user_event
    _last_automated_interval = last_automated_interval or _last_automated_interval
    _versions_in_use = versions_in_use or _versions_in_use
    _dag_changed = dag_changed or _dag_changed
    _process_beat = process_beat or _process_beat
    _process_end = process_end or _process_end
    _process_start = process_start or _process_start
    _user_event = user_event or _user_event


def last_automated_interval(dag_id: str) -> DataInterval | None:
    """Data interval of the newest scheduled or backfilled run of a DAG; None if it never had one."""
    return _last_automated_interval(dag_id)


def versions_in_use(version_ids: Collection[UUID]) -> set[UUID]:
    """Those of `version_ids` that a run, task instance or try refers to: they are never rewritten."""
    return set(_versions_in_use(version_ids)) if version_ids else set()


def dag_changed(dag_ids: Collection[str], verb: str) -> None:
    """Tell that DAGs changed, inside the transaction that changed them.

    Verbs: created, updated, stale, back, paused, unpaused, and broken, mended (the import problems of a file changed;
    `dag_ids` is empty when the file never gave a DAG).
    """
    if dag_ids or verb in ("broken", "mended"):
        _dag_changed(dag_ids, verb)


def process_beat(kind: str, info: dict[str, Any]) -> None:
    """Tell that this process lives; called every few seconds. `info`: counters for the health page."""
    _process_beat(kind, info)


def process_end(kind: str) -> None:
    """Tell that this process ends in good order."""
    _process_end(kind)


def process_start(kind: str) -> None:
    """Tell that this process is about to begin its work (the command says so, not the class: tests have no side duties)."""
    _process_start(kind)


def user_event(event: str, arguments: dict[str, Any], plain: dict[str, Any]) -> None:
    """Something happened that listeners of plugins may want to hear, in the transaction that stored it. `arguments` are
    described objects (`trackside.runner.errands.parts`), `plain` values."""
    _user_event(event, arguments, plain)
