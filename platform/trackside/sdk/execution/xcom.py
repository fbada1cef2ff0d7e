"""Reading and writing XComs from task code.

For `ti.py` and for operators that use the class `XCom` directly. Values go through `serde` in both directions.
"""

from __future__ import annotations

from typing import Any

from trackside.core.messages import XComRecord
from trackside.sdk import serde
from trackside.sdk.exceptions import AirflowRuntimeError
from trackside.sdk.execution import current, hiding
from trackside.sdk.execution.comms import Comms, call, quoted

XCOM_RETURN_KEY = "return_value"


def fetch(
    comms: Comms,
    *,
    dag_id: str,
    run_id: str,
    task_id: str,
    key: str,
    map_index: int | None = None,
    include_prior_dates: bool = False,
) -> list[XComRecord]:
    """XComs at the server, ordered by map index; `map_index` None means all of them."""
    params: dict[str, Any] = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "key": key}
    params["map_index"] = map_index
    if include_prior_dates:
        params["include_prior_dates"] = True
    answer = call(comms, "GET", "/xcoms", params=params)
    return [record(item) for item in answer.get("xcoms", ())]


def record(item: dict[str, Any]) -> XComRecord:
    """An XCom off the wire; what it hides from people, this process hides from now on."""
    found = XComRecord.from_dict(item)
    if found.shown is not None:
        hiding.learn(found.value, found.shown)
    return found


def push(comms: Comms, key: str, value: Any, map_index: int = -1) -> None:
    """Write an XCom of the running task at once."""
    push_stored(comms, key, serde.serialize(value), map_index)


def push_stored(comms: Comms, key: str, value: Any, map_index: int = -1) -> None:
    """`push` of a value in its stored form."""
    if not key:
        raise ValueError("The key of an XCom must not be empty")
    body = {"key": key, "value": value, "map_index": map_index}
    if (shown := hiding.shown(value)) is not None:
        body["shown"] = shown
    call(comms, "POST", "/xcoms", body=body)


class BaseXCom:
    """XComs by full address, for operators that do not want to go through `ti`."""

    XCOM_RETURN_KEY = XCOM_RETURN_KEY

    @staticmethod
    def serialize_value(value: Any, **_: Any) -> Any:
        """JSON-ready form of a value."""
        return serde.serialize(value)

    @staticmethod
    def deserialize_value(result: Any) -> Any:
        """Value of a record (something with `value`) off the wire."""
        return serde.deserialize(result.value)

    @classmethod
    def purge(cls, xcom: Any, *_: Any) -> None:
        """For back ends: a value is deleted."""

    @classmethod
    def get_all(
        cls,
        *,
        key: str,
        dag_id: str,
        task_id: str,
        run_id: str,
        include_prior_dates: bool = False,
    ) -> list[Any] | None:
        """Values of all map indexes, or None if there is none."""
        found = fetch(
            _comms(), dag_id=dag_id, run_id=run_id, task_id=task_id, key=key, include_prior_dates=include_prior_dates
        )
        return [cls.deserialize_value(record) for record in found] or None

    @classmethod
    def get_one(
        cls,
        *,
        key: str,
        dag_id: str,
        task_id: str,
        run_id: str,
        map_index: int | None = None,
        include_prior_dates: bool = False,
    ) -> Any:
        """Value of one map index (-1, the unmapped one, by default), or None."""
        found = fetch(
            _comms(),
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
            key=key,
            map_index=-1 if map_index is None else map_index,
            include_prior_dates=include_prior_dates,
        )
        return cls.deserialize_value(found[0]) if found else None

    @classmethod
    def get_value(cls, *, ti_key: Any, key: str) -> Any:
        """Value of a task instance's key."""
        return cls.get_one(
            key=key, dag_id=ti_key.dag_id, task_id=ti_key.task_id, run_id=ti_key.run_id, map_index=ti_key.map_index
        )

    @classmethod
    def set(
        cls, key: str, value: Any, *, dag_id: str, task_id: str, run_id: str, map_index: int = -1, **_: Any
    ) -> None:
        """Write an XCom; only the running task's own are allowed."""
        context = current.get_current_context()
        ti = context["ti"]
        if (ti.dag_id, ti.task_id, ti.run_id) != (dag_id, task_id, run_id):
            raise AirflowRuntimeError("a task can write only its own XComs")
        where = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
        push_stored(_comms(), key, cls.serialize_value(value, key=key, **where), map_index)

    @classmethod
    def delete(cls, key: str, **_: Any) -> None:
        """Remove one of the running task's own XComs, and what the site's back end keeps of it."""
        ti = current.get_current_context()["ti"]
        for record in fetch(_comms(), dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, key=key, map_index=ti.map_index):
            cls.purge(record)
        call(_comms(), "DELETE", f"/xcoms/{quoted(key)}")


XCom = BaseXCom


def _comms() -> Comms:
    active = current.comms()
    if active is None:
        raise AirflowRuntimeError("XComs can be read and written only while a task runs")
    return active
