"""How task code reaches the server: one small protocol, and an implementation in memory for tests and `dag.test()`.

The runner implements `Comms` over pipes and HTTP. Paths and bodies are those of the try token's doors in
`core.messages`; every caller in the SDK goes through the helpers at the end of this module.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from typing import Any, Protocol
from urllib.parse import quote

from trackside.core.messages import StartOrder, XComRecord
from trackside.sdk.exceptions import (
    AirflowNotFoundException,
    AirflowRuntimeError,
    AirflowSecretsBackendAccessDenied,
    AirflowTaskTerminated,
)


class Comms(Protocol):
    """What the task process needs from whoever runs it. Methods may be called from any thread of the task."""

    def request(
        self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None
    ) -> tuple[int, Any]:
        """Ask the server; the answer's status and JSON. `path` starts below `/execution`, e.g. `/variables/k`."""

    def update(self, **fields: Any) -> None:
        """Tell early facts: fields of `TryUpdate` (rendered_fields, rendered_map_index). Does not wait."""

    def mask(self, secret: str) -> None:
        """Have `secret` replaced by *** in the log from now on; returns when the log's writer knows it."""


def call(comms: Comms, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None) -> Any:
    """`request` for SDK code: the JSON of a 200.

    Raises AirflowNotFoundException (404), AirflowSecretsBackendAccessDenied (401, 403), AirflowTaskTerminated (409, 410
    on a try that was superseded) and AirflowRuntimeError (anything else), all with the server's own words.
    """
    if params:  # lists travel as JSON: one query parameter each
        params = {k: json.dumps(v) if isinstance(v, list) else v for k, v in params.items() if v is not None}
    status, answer = comms.request(method, path, params=params or None, body=body)
    if 200 <= status < 300:
        return answer
    detail = answer.get("detail") if isinstance(answer, dict) else answer
    if status == 404:
        raise AirflowNotFoundException(str(detail or f"{path} was not found"))
    if status in (401, 403):
        raise AirflowSecretsBackendAccessDenied(str(detail or f"access to {path} was denied"))
    if status == 410:
        raise AirflowTaskTerminated(str(detail or "this try was superseded"))
    raise AirflowRuntimeError(f"the server answered {method} {path} with {status}: {detail}")


def quoted(name: str) -> str:
    """A name as one path segment."""
    return quote(name, safe="")


class MemoryComms:
    """A whole pretend server for one process: connections, variables, XComs, runs. Used by tests and `dag.test()`.

    `requests`, `updates` and `masked` record what was asked, told and hidden.
    """

    def __init__(
        self,
        *,
        connections: dict[str, dict[str, Any]] | None = None,
        variables: dict[str, str] | None = None,
        runs: Iterable[dict[str, Any]] = (),
    ) -> None:
        self.connections = dict(connections or {})
        self.variables = dict(variables or {})
        self.runs = list(runs)
        self.task_instances: list[dict[str, Any]] = []
        """Dicts with dag_id, run_id, task_id, map_index, state, logical_date, group_id."""
        self.xcoms: dict[tuple[str, str, str, int, str], XComRecord] = {}
        self.states: dict[tuple[Any, ...], Any] = {}
        """State stores: ("task", dag id, run id, task id, map index, key) and ("asset", name or URI, key) → value."""
        self.assets: list[dict[str, Any]] = []
        """Known assets: name, uri, group, extra."""
        self.requests: list[tuple[str, str]] = []
        self.updates: list[dict[str, Any]] = []
        self.masked: list[str] = []
        self._own = ("", "", "", -1)
        self._lock = threading.RLock()

    # The protocol

    def update(self, **fields: Any) -> None:
        """See `Comms.update`."""
        self.updates.append(fields)

    def mask(self, secret: str) -> None:
        """See `Comms.mask`."""
        self.masked.append(secret)

    def request(
        self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None
    ) -> tuple[int, Any]:
        """See `Comms.request`."""
        self.requests.append((method, path))
        head, _, rest = path.lstrip("/").partition("/")
        handler = getattr(self, f"_{method.lower()}_{head.replace('-', '_')}", None)
        if handler is None:
            return 404, {"detail": f"{method} {path} is not known here"}
        with self._lock:
            status, answer = handler(rest, params or {}, body)
        return status, answer

    # For tests and dag.test()

    def serve(self, order: StartOrder) -> None:
        """Answer for this try from now on (own XComs go under its task)."""
        self._own = (order.dag_id, order.run["run_id"], order.task_id, order.map_index)

    def store(self, records: Iterable[dict[str, Any]], own: tuple[str, str, str, int] | None = None) -> None:
        """Keep XComs, as the server does with those of a FinishReport."""
        dag_id, run_id, task_id, map_index = own or self._own
        for item in records:
            record = XComRecord.from_dict({**item, "dag_id": dag_id, "run_id": run_id, "task_id": task_id})
            record.map_index = map_index
            self.xcoms[(dag_id, run_id, task_id, map_index, record.key)] = record

    # Doors

    def _get_connections(self, conn_id: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        found = self.connections.get(conn_id)
        return (200, {"conn_id": conn_id, **found}) if found else _absent(f"The conn_id `{conn_id}` isn't defined")

    def _get_variables(self, key: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        if not key:
            return 200, {"keys": sorted(k for k in self.variables if k.startswith(params.get("prefix") or ""))}
        if key not in self.variables:
            return _absent(f"Variable {key} does not exist")
        return 200, {"key": key, "value": self.variables[key]}

    def _put_variables(self, key: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        self.variables[key] = body["value"]
        return 200, {}

    def _delete_variables(self, key: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        return (200, {}) if self.variables.pop(key, None) is not None else _absent(f"Variable {key} does not exist")

    def _get_xcoms(self, rest: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        tasks = params.get("task_id")
        index = params.get("map_index")
        found = [
            record.to_dict()
            for (dag_id, run_id, task_id, map_index, key), record in sorted(
                self.xcoms.items(), key=lambda item: (item[0][1] != params["run_id"], item[0])
            )
            if dag_id == params["dag_id"]
            and (params.get("include_prior_dates") or run_id == params["run_id"])
            and task_id == tasks
            and key == params["key"]
            and (index is None or map_index == int(index))
        ]
        return 200, {"xcoms": found}

    def _post_xcoms(self, rest: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        self.store([body])
        return 200, {}

    def _delete_xcoms(self, key: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        self.xcoms.pop((*self._own, key), None)
        return 200, {}

    def _get_runs(self, what: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        mine = [r for r in self.runs if r["dag_id"] == params.get("dag_id", self._own[0])]
        if what == "state":
            found = next((r for r in mine if r["run_id"] == params["run_id"]), None)
            return (200, {"state": found.get("state")}) if found else _absent("no such run")
        if what == "count":
            return 200, {"count": sum(_matches(r, params) for r in mine)}
        before = params.get("logical_date")
        earlier = [
            r
            for r in mine
            if r.get("logical_date") and (not before or r["logical_date"] < before)
            and (not params.get("state") or r.get("state") == params["state"])
        ]
        return 200, {"run": max(earlier, key=lambda r: r["logical_date"], default=None)}

    def _post_runs(self, rest: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        if any(r["dag_id"] == body["dag_id"] and r["run_id"] == body["run_id"] for r in self.runs):
            if not body.get("reset"):
                return 409, {"detail": "the run exists already"}
            self.runs = [r for r in self.runs if r["run_id"] != body["run_id"]]
        self.runs.append({"state": "queued", **body})
        return 200, {"run_id": body["run_id"]}

    def _get_task_instances(self, what: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        found = [ti for ti in self.task_instances if ti["dag_id"] == params.get("dag_id") and _matches(ti, params)]
        if what == "count":
            return 200, {"count": len(found)}
        states: dict[str, dict[str, Any]] = {}
        for ti in found:
            index = ti.get("map_index", -1)
            name = ti["task_id"] if index < 0 else f"{ti['task_id']}_{index}"
            states.setdefault(ti["run_id"], {})[name] = ti.get("state")
        return 200, {"task_states": states}

    def _get_assets(self, rest: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        return 200, {"assets": [asset for asset in self.assets if asset["name"] == params.get("name")]}

    def _state_of(self, what: str, params: dict[str, Any]) -> tuple[Any, ...]:
        return ("task", *self._own) if what == "task" else ("asset", params.get("name") or params.get("uri"))

    def _get_state(self, what: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        place = (*self._state_of(what, params), params["key"])
        if place not in self.states:
            return _absent(f"state store key {params['key']!r} not found")
        return 200, {"key": params["key"], "value": self.states[place]}

    def _put_state(self, what: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        self.states[(*self._state_of(what, params), params["key"])] = body["value"]
        return 200, {}

    def _delete_state(self, what: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        scope, key = self._state_of(what, params), params.get("key")
        self.states = {k: v for k, v in self.states.items() if k[:-1] != scope or key not in (None, k[-1])}
        return 200, {}

    def _get_dags(self, dag_id: str, params: dict[str, Any], body: Any) -> tuple[int, Any]:
        return 200, {"dag_id": dag_id, "is_paused": False}


def _absent(detail: str) -> tuple[int, Any]:
    return 404, {"detail": detail}


def _matches(row: dict[str, Any], params: dict[str, Any]) -> bool:
    checks = {"states": "state", "run_ids": "run_id", "logical_dates": "logical_date", "task_ids": "task_id"}
    return all(row.get(column) in json.loads(params[name]) for name, column in checks.items() if params.get(name))
