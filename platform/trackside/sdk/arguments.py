"""Checks of single arguments of DAGs and tasks: the value in its final type, or an error that says what to write.

For `operator.py`, `dag.py` and `mapping.py`.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trackside.sdk.abstract import MAXIMUM_PRIORITY_WEIGHT, MINIMUM_PRIORITY_WEIGHT

if TYPE_CHECKING:
    from trackside.sdk.param import ParamsDict

DEFAULT_DEFERRABLE = os.environ.get("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "").strip().lower() in {"t", "true", "1", "yes", "on"}
"""Whether sensors and operators that can wait in the triggerer do so unless told not to (`[operators] default_deferrable`)."""

IGNORED_TASK_ARGUMENTS = {"sla": "SLAs are gone since Airflow 3; use deadline= on the DAG"}
RENAMED_TASK_ARGUMENTS = {
    "concurrency": "max_active_tis_per_dag",
    "task_concurrency": "max_active_tis_per_dag",
    "provide_context": "nothing: the context is passed by parameter name",
    "schedule_interval": "schedule= on the DAG",
    "execution_date": "logical_date",
}


def no_unknown(class_name: str, task_id: Any, kwargs: dict[str, Any]) -> None:
    """Refuse arguments nobody takes; warn about those that have lost their meaning."""
    for name in [n for n in kwargs if n in IGNORED_TASK_ARGUMENTS]:
        import warnings

        warnings.warn(f"{name}= has no effect: {IGNORED_TASK_ARGUMENTS[name]}", UserWarning, stacklevel=4)
        del kwargs[name]
    if not kwargs:
        return
    from trackside.sdk.log import is_sensitive

    shown = ", ".join(f"{k!s}={'***' if is_sensitive(k) else repr(v)}" for k, v in kwargs.items())
    hints = [f"instead of {name} write {RENAMED_TASK_ARGUMENTS[name]}" for name in kwargs if name in RENAMED_TASK_ARGUMENTS]
    hint = f". {'; '.join(hints)}" if hints else ""
    raise TypeError(
        f"Invalid arguments were passed to {class_name} (task_id: {task_id}). Invalid arguments were:\n**kwargs: {{{shown}}}{hint}"
    )


def text(name: str, value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}: {value!r}")
    return value


def retries(value: Any) -> int:
    """Number of retries; None means none."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        try:
            return int(value)
        except (TypeError, ValueError):
            raise TypeError(f"'retries' type must be int, not {type(value).__name__}") from None
    return value


def span(name: str, value: Any) -> dt.timedelta:
    """A timedelta; numbers are seconds."""
    if isinstance(value, dt.timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a timedelta or a number of seconds, not {type(value).__name__}: {value!r}")
    return dt.timedelta(seconds=value)


def optional_span(name: str, value: Any) -> dt.timedelta | None:
    """A timedelta or None; numbers are seconds."""
    return None if value is None else span(name, value)


def backoff(value: Any) -> float:
    """The multiplier of the retry delay: False is 0 (constant), True is 2 (doubling)."""
    if isinstance(value, bool):
        return 2.0 if value else 0.0
    if not isinstance(value, int | float) or value < 0:
        raise ValueError(f"retry_exponential_backoff must be a number >= 0 (2.0 doubles the delay), not {value!r}")
    return float(value)


def timeout(value: Any) -> dt.timedelta | None:
    """execution_timeout: a timedelta only."""
    if value is not None and not isinstance(value, dt.timedelta):
        raise ValueError(
            f"execution_timeout must be timedelta object but passed as type: {type(value)}; write timedelta(seconds={value!r})"
        )
    return value


def moment(name: str, value: Any) -> dt.datetime | None:
    """An aware datetime in UTC; naive ones and ISO texts are read as UTC (the default time zone)."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{name}: {value!r} is not an ISO 8601 date and time") from None
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    if not isinstance(value, dt.datetime):
        raise TypeError(f"{name} must be a datetime, not {type(value).__name__}: {value!r}")
    if value.tzinfo is None:
        value = value.replace(tzinfo=dt.UTC)
    in_timezone = getattr(value, "in_timezone", None)  # pendulum's datetimes stay pendulum's
    try:
        return in_timezone("UTC") if in_timezone is not None else value.astimezone(dt.UTC)
    except OverflowError:
        raise ValueError(f"{name} {value.isoformat()} lies outside the years 1 to 9999 in UTC; choose another moment") from None


def whole_number(name: str, value: Any) -> int:
    """An int within 32 bits."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` for task only accepts integers, received {value!r}")
    return max(MINIMUM_PRIORITY_WEIGHT, min(MAXIMUM_PRIORITY_WEIGHT, value))


def pool_slots(task_id: Any, value: Any) -> int:
    """At least one slot."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"pool slots for {task_id!r} must be at least 1, not {value!r}")
    return value


def callbacks(name: str, value: Any) -> list[Any]:
    """One callable or several, as a list."""
    if not value:
        return []
    found = list(value) if isinstance(value, Iterable) and not callable(value) and not isinstance(value, str) else [value]
    for item in found:
        if not callable(item):
            hint = " (write the name of the function, without quotes and parentheses)" if isinstance(item, str) else ""
            raise TypeError(f"{name} must be a function or a list of functions, not {type(item).__name__}: {item!r}{hint}")
    return found


def as_list(value: Any) -> list[Any]:
    """Inlets or outlets: one thing or several, as a list."""
    if value is None:
        return []
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    return [value]


def params(value: Any) -> ParamsDict:
    """A ParamsDict."""
    from trackside.sdk.param import ParamsDict

    if isinstance(value, ParamsDict):
        return value
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"params must be a dict, not {type(value).__name__}")
    return ParamsDict(value)


def resources(value: Any) -> dict[str, Any] | None:
    """cpus, ram, disk (MB) and gpus the task would like."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        value = {k: v for k, v in vars(value).items() if not k.startswith("_")}
    unknown = sorted(set(value) - {"cpus", "ram", "disk", "gpus"})
    if unknown:
        raise TypeError(f"resources: unknown {', '.join(unknown)}; known are cpus, ram, disk, gpus")
    return dict(value)
