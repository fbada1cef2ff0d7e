"""The clients: each method is one operation of `/api/v2`. Paths are theirs, so `apache-airflow-client` users feel at home."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, Self
from urllib.parse import quote

import httpx

from trackside.client.http import ApiError, Unreachable, answer, given
from trackside.client.profiles import Profile
from trackside.client.tables import Table

PAGE = 100
ENDED = ("success", "failed")
Progress = Callable[[dict[str, Any], "Table"], None]
"""Told the run and its task instances whenever one of them has changed."""
_DAG = ("dag_id", "is_paused", "timetable_summary", "next_dagrun_run_after", "owners")
_RUN = ("dag_id", "dag_run_id", "state", "run_type", "run_after", "start_date", "end_date")
_TASK = ("task_id", "map_index", "state", "try_number", "start_date", "duration", "operator")


class Client:
    """A server. Use it as a context manager, or `close()` it. Methods raise ApiError and Unreachable."""

    def __init__(
        self,
        server: str,
        token: str | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(base_url=server.rstrip("/"), timeout=timeout, transport=transport, headers={"Accept": "application/json"})
        if token is None and username and password is not None:
            token = self.call("POST", "/auth/token", json={"username": username, "password": password})["access_token"]
        if token:
            self._http.headers["Authorization"] = f"Bearer {token}"

    @classmethod
    def of(cls, profile: Profile) -> Client:
        """For a profile."""
        return cls(profile.server, profile.token, username=profile.username, password=profile.password)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def call(self, method: str, path: str, *, params: dict[str, Any] | None = None, json: Any = None) -> Any:
        """Any operation: the JSON of its answer. Raises ApiError, Unreachable."""
        try:
            return answer(self._http.request(method, path, params=params, json=json))
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._http.base_url} does not answer: {error or type(error).__name__}") from error

    def pages(self, path: str, key: str, columns: tuple[str, ...], *, limit: int = 1000, **params: Any) -> Table:
        """A list, page by page, at most `limit` rows."""
        rows: list[dict[str, Any]] = []
        total = limit
        while len(rows) < min(limit, total):
            page = self.call("GET", f"/api/v2{path}", params={**params, "limit": min(PAGE, limit - len(rows)), "offset": len(rows)})
            rows += page[key]
            total = page.get("total_entries") or 0
            if not page[key]:
                break
        return Table(rows, columns, total)

    # DAGs and runs ------------------------------------------------------------------------------------------------
    def dags(self, pattern: str | None = None, *, tags: list[str] | None = None, paused: bool | None = None, limit: int = 1000) -> Table:
        """DAGs whose id matches `pattern` (`%` and `_`)."""
        return self.pages("/dags", "dags", _DAG, limit=limit, **given(dag_id_pattern=pattern, tags=tags, paused=paused))

    def pause(self, dag_id: str, paused: bool = True) -> dict[str, Any]:
        """Pause a DAG, or with False unpause it."""
        found: dict[str, Any] = self.call("PATCH", f"/api/v2/dags/{_q(dag_id)}", json={"is_paused": paused})
        return found

    def trigger(
        self,
        dag_id: str,
        conf: dict[str, Any] | None = None,
        *,
        logical_date: str | None = None,
        run_id: str | None = None,
        note: str | None = None,
    ) -> dict[str, Any]:
        """Make a run now."""
        body = {"logical_date": logical_date, "conf": conf or {}, **given(dag_run_id=run_id, note=note)}
        found: dict[str, Any] = self.call("POST", f"/api/v2/dags/{_q(dag_id)}/dagRuns", json=body)
        return found

    def runs(self, dag_id: str = "~", *, state: str | None = None, limit: int = 25) -> Table:
        """Newest runs of a DAG, or of all."""
        return self.pages(f"/dags/{_q(dag_id)}/dagRuns", "dag_runs", _RUN, limit=limit, order_by="-run_after", **given(state=state))

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run."""
        found: dict[str, Any] = self.call("GET", f"/api/v2/dags/{_q(dag_id)}/dagRuns/{_q(run_id)}")
        return found

    def clear(self, dag_id: str, run_id: str, *, only_failed: bool = False, dry_run: bool = False) -> Any:
        """Run a run's tasks again."""
        return self.call(
            "POST", f"/api/v2/dags/{_q(dag_id)}/dagRuns/{_q(run_id)}/clear", json={"only_failed": only_failed, "dry_run": dry_run}
        )

    def tasks(self, dag_id: str, run_id: str, *, limit: int = 10_000) -> Table:
        """Task instances of a run."""
        return self.pages(f"/dags/{_q(dag_id)}/dagRuns/{_q(run_id)}/taskInstances", "task_instances", _TASK, limit=limit)

    def wait(
        self, dag_id: str, run_id: str, *, timeout: float | None = None, progress: Progress | None = None, pause: float = 1.0
    ) -> dict[str, Any]:
        """The run when it has ended. Raises TimeoutError when that takes longer than `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        seen: Any = None
        while True:
            run = self.run(dag_id, run_id)
            if progress is not None:
                tasks = self.tasks(dag_id, run_id)
                now = (run["state"], [(t["task_id"], t["map_index"], t["state"]) for t in tasks])
                if now != seen:
                    seen = now
                    progress(run, tasks)
            if run["state"] in ENDED:
                return run
            if until is not None and time.monotonic() > until:
                raise TimeoutError(f"run {run_id} of {dag_id} is still {run['state']} after {timeout:g} s")
            time.sleep(pause)

    def logs(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        *,
        try_number: int | None = None,
        map_index: int = -1,
        follow: bool = False,
        pause: float = 1.0,
    ) -> Iterator[str]:
        """Lines of a try's log (the newest one); with `follow` until the try has ended."""
        base = f"/api/v2/dags/{_q(dag_id)}/dagRuns/{_q(run_id)}/taskInstances/{_q(task_id)}"
        shown = 0
        while True:
            ti = self.call("GET", base if map_index < 0 else f"{base}/{map_index}")
            number = try_number or max(1, ti["try_number"])
            lines: list[Any] = []
            try:
                lines = self.call("GET", f"{base}/logs/{number}", params={"map_index": map_index, "full_content": True})["content"]
            except ApiError as error:
                if error.status != 404 or not follow:
                    raise
            for line in lines[shown:]:
                yield (
                    line
                    if isinstance(line, str)
                    else f"{line.get('timestamp') or ''} {line.get('level') or ''} {line.get('event')}".strip()
                )
            shown = max(shown, len(lines))
            ended = ti["state"] in ("success", "failed", "skipped", "upstream_failed", "removed") or ti["try_number"] > number
            if not follow or ended:
                return
            time.sleep(pause)

    # Settings -----------------------------------------------------------------------------------------------------
    def variables(self) -> Table:
        """All variables; secret values are masked."""
        return self.pages("/variables", "variables", ("key", "value", "description"))

    def connections(self) -> Table:
        """All connections; secrets are masked."""
        return self.pages("/connections", "connections", ("connection_id", "conn_type", "host", "port", "login", "description"))

    def pools(self) -> Table:
        """All pools."""
        return self.pages("/pools", "pools", ("name", "slots", "occupied_slots", "open_slots", "description"))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One of `variables`, `connections`, `pools`."""
        found: dict[str, Any] = self.call("GET", f"/api/v2/{kind}/{_q(name)}")
        return found

    def put(self, kind: str, key: str, name: str, values: dict[str, Any]) -> dict[str, Any]:
        """Make it, or change it if it is there. `key`: its name's field in the body."""
        body = {key: name, **values}
        try:
            found: dict[str, Any] = self.call("POST", f"/api/v2/{kind}", json=body)
        except ApiError as error:
            if error.status != 409:
                raise
            if kind == "pools":  # their change has another word for the name, and the default pool keeps its description
                values = {key: value for key, value in values.items() if name != "default_pool" or key != "description"}
                body = {"pool": name, **values}
            found = self.call("PATCH", f"/api/v2/{kind}/{_q(name)}", json=body, params={"update_mask": list(values)})
        return found

    def delete(self, kind: str, name: str) -> None:
        """Remove it."""
        self.call("DELETE", f"/api/v2/{kind}/{_q(name)}")

    def health(self) -> dict[str, Any]:
        """How the parts of the server are."""
        found: dict[str, Any] = self.call("GET", "/api/v2/monitor/health")
        return found

    def well(self) -> dict[str, Any]:
        """Every part that must be there: `{"status", "scheduler": {"status", "alive", "why"?}, "worker": …}`; also when it is not well."""
        try:
            answered = self._http.request("GET", "/health")
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._http.base_url} does not answer: {error or type(error).__name__}") from error
        says = answered.status_code == 503 and "json" in answered.headers.get("content-type", "")
        found: dict[str, Any] = answered.json() if says else answer(answered)
        return found

    def version(self) -> dict[str, Any]:
        """What runs there."""
        found: dict[str, Any] = self.call("GET", "/api/v2/version")
        return found


class AsyncClient:
    """`Client` for event loops: every method is awaited. Each call runs in a thread, so that one slow answer holds up nobody."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.sync = Client(*args, **kwargs)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.sync.close)

    async def dags(self, *args: Any, **kwargs: Any) -> Table:
        """See `Client.dags`."""
        return await asyncio.to_thread(self.sync.dags, *args, **kwargs)

    async def pause(self, dag_id: str, paused: bool = True) -> dict[str, Any]:
        """See `Client.pause`."""
        return await asyncio.to_thread(self.sync.pause, dag_id, paused)

    async def trigger(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """See `Client.trigger`."""
        return await asyncio.to_thread(self.sync.trigger, *args, **kwargs)

    async def runs(self, *args: Any, **kwargs: Any) -> Table:
        """See `Client.runs`."""
        return await asyncio.to_thread(self.sync.runs, *args, **kwargs)

    async def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """See `Client.run`."""
        return await asyncio.to_thread(self.sync.run, dag_id, run_id)

    async def tasks(self, *args: Any, **kwargs: Any) -> Table:
        """See `Client.tasks`."""
        return await asyncio.to_thread(self.sync.tasks, *args, **kwargs)

    async def wait(self, dag_id: str, run_id: str, *, timeout: float | None = None, pause: float = 1.0) -> dict[str, Any]:  # noqa: ASYNC109 - as Client.wait
        """See `Client.wait`; waiting itself holds no thread."""
        async with asyncio.timeout(timeout):
            while (run := await self.run(dag_id, run_id))["state"] not in ENDED:  # noqa: ASYNC110 - the event is at the server
                await asyncio.sleep(pause)
        return run

    async def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """See `Client.call`."""
        return await asyncio.to_thread(self.sync.call, method, path, **kwargs)


def _q(name: str) -> str:
    return quote(name, safe="~")
