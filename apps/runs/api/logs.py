"""REST: the log of a try, as JSON or as a line of JSON per event; and extra links, which tasks leave like logs."""

from __future__ import annotations

from typing import Any

import orjson
from django.core import signing
from django.http import HttpResponse

from apps.access.rest.errors import Problem, bad_request
from apps.access.rest.negotiation import JSON, NDJSON, wanted_media
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Natural, Param
from apps.runs.api.lookups import the_ti, ti_not_found
from apps.runs.models import TaskInstance, Try, XCom
from trackside.core.spec import TaskSpec

_SALT = "trackside.log"
_CHUNK = 4 * 1_048_576
"""Bytes of log per answer without `full_content`."""
_BASE = "GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"
_MAP_INDEX = Param("map_index", int, -1)
_SCHEMA = {
    "type": "object",
    "properties": {
        "content": {"type": "array", "items": {"type": "object"}},
        "continuation_token": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
}


def wire_event(event: dict[str, Any]) -> dict[str, Any]:
    """A stored line (`core.messages.LOG_FORMAT`) as Airflow's structured log message."""
    source = event.get("src")
    logger = event.get("logger") or {"stdout": "task.stdout", "stderr": "task.stderr"}.get(str(source), "task")
    out = {
        "timestamp": event.get("t"),
        "event": event.get("event", ""),
        "level": event.get("level", "info"),
        "logger": logger,
    }
    return out | {k: v for k, v in event.items() if k in ("filename", "lineno", "error_detail")}


def _offset(token: str | None, try_id: str) -> int:
    if not token:
        return 0
    try:
        named, offset = signing.loads(token, salt=_SALT)
    except (signing.BadSignature, ValueError, TypeError) as e:
        raise bad_request("Bad Signature. Please use only the tokens provided by the API.") from e
    if named != try_id:
        raise bad_request("The token belongs to another log.")
    return int(offset)


def _the_try(call: Call, ti: TaskInstance, number: int) -> Try | None:
    """The try of this number; None for an instance that ended without one (nothing to execute)."""
    row = Try.objects.filter(ti=ti, number=number).first()
    if row is None and ti.try_number != number:
        raise ti_not_found(ti.dag_id, ti.run.run_id, ti.task_id, ti.map_index)
    return row


@operation(
    f"{_BASE}/logs/{{try_number}}",
    may=("read", "log"),
    query=(Param("full_content", bool, False), _MAP_INDEX, Param("token")),
    path={"try_number": Natural},
    returns=_SCHEMA,
)
def get_log(call: Call, dag_id: str, dag_run_id: str, task_id: str, try_number: int) -> Any:
    """The log of a try, in pieces (`token` is the continuation_token of the last answer) or all of it (`full_content`)."""
    from apps.runs import logs

    media = wanted_media(call.request, JSON, NDJSON)
    if media is None:
        raise Problem(406, "Only application/json or application/x-ndjson is supported")
    ti = the_ti(call, dag_id, dag_run_id, task_id, call.query["map_index"])
    row = _the_try(call, ti, min(try_number, 2**31 - 1))
    events: list[dict[str, Any]] = []
    following: int | None = None
    if row is not None:
        limit = None if call.query["full_content"] else _CHUNK
        events, offset, complete = logs.read(row, _offset(call.query["token"], str(row.pk)), limit)
        following = None if complete or call.query["full_content"] else offset
    content = [wire_event(e) for e in events]
    if media == NDJSON:
        return HttpResponse(b"".join(orjson.dumps(e) + b"\n" for e in content), content_type=NDJSON)
    token = signing.dumps([str(row.pk), following], salt=_SALT) if row is not None and following is not None else None
    return {"content": content, "continuation_token": token}


@operation(f"{_BASE}/externalLogUrl/{{try_number}}", may=("read", "log"), query=(_MAP_INDEX,), path={"try_number": Natural})
def get_external_log_url(call: Call, dag_id: str, dag_run_id: str, task_id: str, try_number: int) -> None:
    """Refused: Trackside keeps logs itself and links to no other system."""
    raise bad_request("Task log handler does not support external logs.")


@operation(
    f"{_BASE}/links",
    may=("read", "task"),
    query=(_MAP_INDEX, Param("try_number", int)),
    returns={"type": "object", "properties": {"extra_links": {"type": "object"}, "total_entries": {"type": "integer"}}},
)
def get_extra_links(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> dict[str, Any]:
    """Links of the operator to other places. Their addresses were computed where the task ran; null before that."""
    ti = the_ti(call, dag_id, dag_run_id, task_id, call.query["map_index"])
    task = spec_of(ti)
    rows = XCom.objects.filter(run=ti.run_id, task_id=task_id, map_index=ti.map_index, key__startswith="_link_")
    left = {key: orjson.loads(shown or value) for key, value, shown in rows.order_by("pk").values_list("key", "value", "shown")}
    links = {name: _address(name, left) for name in (task.extra_links if task is not None else ())}
    return {"extra_links": links, "total_entries": len(links)}


def _address(name: str, left: dict[str, Any]) -> Any:
    """The XCom that belongs to a link: by its class name if that tells, else the next one left."""
    words = [w.lower() for w in name.split()]
    fitting = [k for k in left if any(w in k.lower() for w in words)] or list(left)
    return left.pop(fitting[0]) if fitting else None


def spec_of(ti: TaskInstance) -> TaskSpec | None:
    """The task as the instance's DAG version describes it."""
    from apps.runs import compiled

    version = ti.dag_version or ti.run.dag_version
    dag = compiled.get_many([(version.pk, version.spec_hash)]).get(version.pk) if version is not None else None
    return dag.graph.tasks.get(ti.task_id) if dag is not None else None
