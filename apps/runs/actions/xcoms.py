"""XComs as people see and change them. Values are JSON and stay opaque: nothing here rebuilds objects.

People see no secrets: those the writing task knew of are replaced in `shown`, and what lies under a sensitive name is hidden here.
Tasks get the value itself.

Envelopes of other Python types (`__classname__` …) are refused from outside: workers would rebuild what a caller made up.
Tasks themselves write through the execution API.
"""

from __future__ import annotations

import json
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.timezone import now

from apps.access import audit
from apps.access.masking import mask
from apps.runs import compiled
from apps.runs.errors import Conflict, Invalid, NotFound
from apps.runs.models import Run, XCom
from trackside.runner.jsonio import exact_loads

RESERVED = frozenset({"__classname__", "__data__", "__version__", "__type", "__var", "__source", "__xcom__"})
"""Keys that mean something to the runner."""


def for_people(xcom: XCom) -> Any:
    """The value without secrets, as JSON."""
    return mask(exact_loads(xcom.value if xcom.shown is None else xcom.shown), xcom.key)


def check_value(value: Any) -> None:
    """Raises Invalid for values that contain reserved keys, at any depth."""
    if isinstance(value, dict):
        if taken := RESERVED & value.keys():
            raise Invalid(
                f"The key {sorted(taken)[0]} is reserved for values that tasks made; use another one.", field="value"
            )
        for item in value.values():
            check_value(item)
    elif isinstance(value, list):
        for item in value:
            check_value(item)


def _text(value: Any) -> str:
    check_value(value)
    return json.dumps(value, ensure_ascii=False)


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, list | dict) else None


def get(run: Run, task_id: str, key: str, map_index: int = -1) -> XCom:
    """One XCom. Raises NotFound."""
    xcom = XCom.objects.filter(run=run, task_id=task_id, key=key, map_index=map_index).first()
    if xcom is None:
        raise NotFound(f"XCom entry with key: `{key}` not found")
    return xcom


def _check_task(run: Run, task_id: str) -> None:
    version = run.dag_version or run.dag.current_version
    dag = compiled.get_many([(version.pk, version.spec_hash)]).get(version.pk) if version is not None else None
    if dag is None or task_id not in dag.graph.tasks:
        raise NotFound(f"Task with ID: `{task_id}` not found in dag: `{run.dag_id}`")


def create(run: Run, task_id: str, key: str, value: Any, *, actor: audit.Actor, map_index: int = -1) -> XCom:
    """A new XCom of a task of the run's DAG. Raises NotFound (task), Invalid (key or value), Conflict (exists)."""
    _check_task(run, task_id)
    if not key:
        raise Invalid("The key of an XCom must not be empty.", field="key")
    with transaction.atomic():
        try:
            with transaction.atomic():
                xcom = XCom.objects.create(
                    run=run,
                    dag_id=run.dag_id,
                    task_id=task_id,
                    key=key,
                    map_index=map_index,
                    value=_text(value),
                    length=_length(value),
                )
        except IntegrityError as e:
            raise Conflict(
                f"The XCom with key: `{key}` with mentioned task instance already exists.", field="key"
            ) from e
        _audit("create_xcom_entry", xcom, run, actor, {"after": _size(xcom)})
    return xcom


def update(run: Run, task_id: str, key: str, value: Any, *, actor: audit.Actor, map_index: int = -1) -> XCom:
    """Give an XCom another value. Raises NotFound, Invalid."""
    with transaction.atomic():
        xcom = get(run, task_id, key, map_index)
        before = _size(xcom)
        xcom.value, xcom.shown, xcom.length, xcom.timestamp = _text(value), None, _length(value), now()
        xcom.save(update_fields=("value", "shown", "length", "timestamp"))
        _audit("update_xcom_entry", xcom, run, actor, {"before": before, "after": _size(xcom)})
    return xcom


def delete(run: Run, task_id: str, key: str, *, actor: audit.Actor, map_index: int = -1) -> None:
    """Remove an XCom. Raises NotFound."""
    with transaction.atomic():
        xcom = get(run, task_id, key, map_index)
        _audit("delete_xcom_entry", xcom, run, actor, {"before": _size(xcom)})
        xcom.delete()


def _size(xcom: XCom) -> dict[str, int]:
    return {"length": len(xcom.value or "")}


def _audit(action: str, xcom: XCom, run: Run, actor: audit.Actor, extra: dict[str, Any]) -> None:
    """Of the value only how long it is: it is the task's, and may hold anything."""
    audit.record(
        action,
        actor,
        dag_id=run.dag_id,
        run_id=run.run_id,
        task_id=xcom.task_id,
        map_index=xcom.map_index,
        object_type="xcom",
        object_id=xcom.key,
        extra=extra,
    )
