"""What `execute` returned, as XComs of the report.

For `run.py`. The rules are Airflow's: several outputs, values that others map over, nothing for None.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from trackside.sdk.exceptions import (
    UnmappableXComLengthPushed,
    UnmappableXComTypePushed,
    XComForMappingNotPushed,
)
from trackside.sdk.execution.ti import RuntimeTaskInstance
from trackside.sdk.execution.xcom import XCOM_RETURN_KEY


def push_result(ti: RuntimeTaskInstance, result: Any) -> None:
    """Put the result into the report. Raises if it cannot be mapped over, split or written as JSON."""
    task = ti.task
    value = result if getattr(task, "do_xcom_push", True) else None
    consumed = not ti.is_mapped and has_mapped_dependants(task)
    if value is None:
        if consumed:
            raise XComForMappingNotPushed
        return
    length = _mapped_length(value) if consumed else None
    ti.log.info("Pushing xcom")
    if getattr(task, "multiple_outputs", False):
        _push_each(ti, value)
    ti.xcom_push_at_end(XCOM_RETURN_KEY, value, length)


def _push_each(ti: RuntimeTaskInstance, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"Returned output was type {type(value)} expected dictionary for multiple_outputs")
    for key in value:
        if not isinstance(key, str):
            raise TypeError(
                "Returned dictionary keys must be strings when using multiple_outputs, "
                f"found {key} ({type(key)}) instead"
            )
    for key, item in value.items():
        ti.xcom_push_at_end(key, item)


def _mapped_length(value: Any) -> int:
    if not isinstance(value, Collection) or isinstance(value, str | bytes | set | frozenset):
        raise UnmappableXComTypePushed(value)
    longest = int(os.environ.get("AIRFLOW__CORE__MAX_MAP_LENGTH", "1024"))
    if len(value) > longest:
        raise UnmappableXComLengthPushed(value, longest)
    return len(value)


def has_mapped_dependants(task: Any) -> bool:
    """Whether a mapped task or group expands over this task's result."""
    walk = getattr(task, "iter_mapped_dependants", None)
    if walk is not None:
        return next(iter(walk()), None) is not None
    return any(_expands_over(consumer, task) for consumer in _possible_consumers(task))


def _possible_consumers(task: Any) -> Iterable[Any]:
    if not hasattr(task, "get_dag") or task.get_dag() is None:
        return
    for task_id in task.downstream_task_ids:
        downstream = task.get_dag().get_task(task_id)
        if downstream.is_mapped:
            yield downstream
        yield from downstream.iter_mapped_task_groups()


def _expands_over(consumer: Any, task: Any) -> bool:
    if hasattr(consumer, "iter_mapped_dependencies"):
        return any(found.task_id == task.task_id for found in consumer.iter_mapped_dependencies())
    inputs = getattr(consumer, "_expand_input", None) or getattr(consumer, "expand_input", None)
    return inputs is not None and any(found.task_id == task.task_id for found in inputs.iter_operators())
