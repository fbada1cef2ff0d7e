"""The site's XCom back end: a class of the user's that decides how values are stored (TRACKSIDE_XCOM_BACKEND).

For `ti.py`, `xcom.py` and `results.py`; only in task processes, never in the server. Airflow's `[core] xcom_backend`
(AIRFLOW__CORE__XCOM_BACKEND) is read, too. What `serialize_value` gives is what the server stores; `deserialize_value` gets
it back as the attribute `value`.
"""

from __future__ import annotations

import importlib
import inspect
import os
from functools import cache
from typing import Any

from trackside.core.messages import XComRecord
from trackside.sdk import serde
from trackside.sdk.exceptions import AirflowConfigException

_OWN = ("", "airflow.sdk.execution_time.xcom.BaseXCom", "airflow.sdk.bases.xcom.BaseXCom", "airflow.models.xcom.BaseXCom")


@cache
def backend() -> Any:
    """The class, or None for Trackside's own way. Raises AirflowConfigException if it cannot be imported."""
    name = os.environ.get("TRACKSIDE_XCOM_BACKEND") or os.environ.get("AIRFLOW__CORE__XCOM_BACKEND") or ""
    if name in _OWN:
        return None
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise AirflowConfigException(f"The XCom back end {name!r} cannot be imported on this worker: {error}") from error
    if not callable(getattr(found, "serialize_value", None)) or not callable(getattr(found, "deserialize_value", None)):
        raise AirflowConfigException(f"The XCom back end {name!r} must be a class with serialize_value and deserialize_value")
    return found


def to_stored(value: Any, *, key: str, dag_id: str, run_id: str, task_id: str, map_index: int) -> Any:
    """What is stored of a value."""
    chosen = backend()
    if chosen is None:
        return serde.serialize(value)
    given = {"key": key, "dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
    takes = inspect.signature(chosen.serialize_value).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        given = {name: item for name, item in given.items() if name in takes}
    found = chosen.serialize_value(value, **given)
    return found.decode() if isinstance(found, bytes) else found


def from_stored(record: XComRecord) -> Any:
    """The value of a record."""
    chosen = backend()
    return serde.deserialize(record.value) if chosen is None else chosen.deserialize_value(record)


def purge(record: XComRecord) -> None:
    """Tell the back end that a value is deleted."""
    if (chosen := backend()) is not None and callable(remove := getattr(chosen, "purge", None)):
        remove(record)
