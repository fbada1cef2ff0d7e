"""REST: XComs. Values come as the JSON that is stored, without secrets; types JSON does not have are envelopes."""

from __future__ import annotations

from typing import Annotated, Any

from django.db.models import QuerySet
from pydantic import Field as Constraint

from apps.access import policy
from apps.access.rest.body import Body, SmallInt
from apps.access.rest.errors import not_found
from apps.access.rest.fields import anything, moment, text, whole
from apps.access.rest.filters import Custom, Equals, Pattern, Range
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource
from apps.runs.actions import xcoms as actions
from apps.runs.api.lookups import the_run
from apps.runs.models import TaskInstance, XCom


def _rows(call: Call) -> QuerySet[XCom]:
    rows = XCom.objects.filter(policy.visible_dags(call.user, "run__dag")).select_related("run__dag")
    return rows.defer("run__conf", "value", "shown")


def _attach_names(xcoms: list[XCom], call: Call) -> None:
    """Display names of the tasks, in one query."""
    tis = TaskInstance.objects.filter(run__in={x.run_id for x in xcoms}, task_id__in={x.task_id for x in xcoms})
    names = {(run, task): name for run, task, name in tis.values_list("run_id", "task_id", "task_display_name")}
    for xcom in xcoms:
        xcom.shown_task = names.get((xcom.run_id, xcom.task_id)) or xcom.task_id  # type: ignore[attr-defined]


_FIELDS = (
    text("key"),
    moment("timestamp", null=False),
    moment("logical_date", "run.logical_date"),
    whole("map_index"),
    text("task_id"),
    text("dag_id"),
    text("run_id", "run.run_id"),
    text("dag_display_name", "run.dag.dag_display_name"),
    text("task_display_name", "shown_task"),
    moment("run_after", "run.run_after", null=False),
)
XCOMS = Resource(
    "xcom_entries",
    fields=_FIELDS,
    attach=_attach_names,
    filters=(
        Custom(Param("xcom_key"), lambda rows, key: rows.filter(key=key)),  # an empty key is a key too
        Equals("map_index", kind=int),
        Equals("map_index_filter", "map_index", int),
        Pattern("xcom_key", "key"),
        Pattern("dag_display_name", "run__dag__dag_display_name"),
        Pattern("run_id", "run__run_id"),
        Pattern("task_id"),
        Range("logical_date", "run__logical_date"),
        Range("run_after", "run__run_after"),
    ),
    orders={
        "key": "key",
        "dag_id": "dag_id",
        "run_id": "run__run_id",
        "task_id": "task_id",
        "map_index": "map_index",
        "timestamp": "timestamp",
        "run_after": "run__run_after",
    },
    default_order=("dag_id", "task_id", "run_id", "map_index", "key"),
)
XCOM = Resource("xcom_entries", fields=(*_FIELDS, anything("value", "shown_value")), attach=_attach_names)

_ALL = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries"
_ONE = f"{_ALL}/{{xcom_key:path}}"
_MapIndex = Annotated[SmallInt, Constraint(ge=-1)]


def described(value: Any) -> Any:
    """The value with objects (envelopes) as text: `package.Name@version=1(field='a', other=2)`; tuples and sets as `(a,b)`."""
    if isinstance(value, list):
        return [described(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "__classname__" not in value or "__version__" not in value:
        return {k: described(v) for k, v in value.items()}
    name, data = value["__classname__"], value.get("__data__")
    if isinstance(data, dict):
        inside = ", ".join(f"{k}={v!r}" if isinstance(v, str) else f"{k}={described(v)}" for k, v in data.items())
    elif isinstance(data, list):
        inside = ",".join(str(described(v)) for v in data)
        if name in ("builtins.tuple", "builtins.set", "builtins.frozenset"):
            return f"({inside})"
    else:
        inside = "" if data is None else str(data)
    return f"{name}@version={value['__version__']}({inside})"


def _shown(call: Call, xcom: XCom, *, as_text: bool = False, in_words: bool = False) -> dict[str, Any]:
    value = actions.for_people(xcom)
    if in_words:
        value = described(value)
    xcom.shown_value = str(value) if as_text and value is not None else value  # type: ignore[attr-defined]
    return XCOM.one(xcom, call)


@operation(f"GET {_ALL}", may=("read", "xcom"), query=XCOMS.query, returns=XCOMS.list_schema)
def get_xcom_entries(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> dict[str, Any]:
    """List XComs of a task; `~` for all tasks, runs or DAGs. An unknown task has none."""
    rows = _rows(call)
    for column, value in (("dag_id", dag_id), ("run__run_id", dag_run_id), ("task_id", task_id)):
        if value != "~":
            rows = rows.filter(**{column: value})
    return XCOMS.page(call, rows)


@operation(
    f"GET {_ONE}",
    may=("read", "xcom"),
    query=(Param("map_index", _MapIndex, -1), Param("deserialize", bool, False), Param("stringify", bool, False)),
    returns=XCOM.schema,
)
def get_xcom_entry(call: Call, dag_id: str, dag_run_id: str, task_id: str, xcom_key: str) -> dict[str, Any]:
    """One XCom with its value. It is never rebuilt as an object here: `deserialize` describes objects in words."""
    rows = _rows(call).defer(None).defer("run__conf")
    xcom = rows.filter(dag_id=dag_id, run__run_id=dag_run_id, task_id=task_id, key=xcom_key, map_index=call.query["map_index"]).first()
    if xcom is None:
        raise not_found(f"XCom entry with key: `{xcom_key}` not found")
    return _shown(call, xcom, as_text=call.query["stringify"], in_words=call.query["deserialize"])


class XComCreateBody(Body):
    """An XCom to create."""

    key: Annotated[str, Constraint(max_length=512)]
    value: Any
    map_index: _MapIndex = -1


class XComUpdateBody(Body):
    """A new value."""

    value: Any
    map_index: _MapIndex = -1


@operation(f"POST {_ALL}", may=("edit", "xcom"), body=XComCreateBody, status=201, returns=XCOM.schema)
def create_xcom_entry(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> dict[str, Any]:
    """Create an XCom of a task."""
    body: XComCreateBody = call.body
    run = the_run(call, dag_id, dag_run_id)
    xcom = actions.create(run, task_id, body.key, body.value, map_index=body.map_index, actor=call.actor)
    return _shown(call, xcom)


@operation(f"PATCH {_ONE}", may=("edit", "xcom"), body=XComUpdateBody, returns=XCOM.schema)
def update_xcom_entry(call: Call, dag_id: str, dag_run_id: str, task_id: str, xcom_key: str) -> dict[str, Any]:
    """Give an XCom another value."""
    body: XComUpdateBody = call.body
    run = the_run(call, dag_id, dag_run_id)
    xcom = actions.update(run, task_id, xcom_key, body.value, map_index=body.map_index, actor=call.actor)
    xcom.run = run
    return _shown(call, xcom)


@operation(f"DELETE {_ONE}", may=("delete", "xcom"), query=(Param("map_index", _MapIndex, -1),), status=204)
def delete_xcom_entry(call: Call, dag_id: str, dag_run_id: str, task_id: str, xcom_key: str) -> None:
    """Delete an XCom."""
    run = the_run(call, dag_id, dag_run_id)
    actions.delete(run, task_id, xcom_key, map_index=call.query["map_index"], actor=call.actor)
