"""The client: each method is one operation of `/api/v2`. Paths are theirs, so `apache-airflow-client` users feel at home.

Next door: `actions` and `people` have the operations that are Trackside's own, `waited` the client for event loops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import httpx

from trackside.client.actions import Actions
from trackside.client.calls import q
from trackside.client.http import ApiError, Unreachable, answer, given
from trackside.client.people import People
from trackside.client.profiles import Profile
from trackside.client.progress import Shown
from trackside.client.tables import Table

ENDED = ("success", "failed")
Progress = Callable[[dict[str, Any], "Table"], None]
"""Told the run and its task instances whenever one of them has changed."""
_DAG = ("dag_id", "is_paused", "timetable_summary", "next_dagrun_run_after", "owners")
_RUN = ("dag_id", "dag_run_id", "state", "run_type", "run_after", "start_date", "end_date")
_ASSET = ("id", "name", "uri", "group")
_BACKFILL = ("id", "dag_id", "from_date", "to_date", "is_paused", "reprocess_behavior", "max_active_runs", "completed_at")
_AUDIT = ("event_log_id", "when", "event", "owner", "dag_id", "run_id", "task_id")
_TASK = ("task_id", "map_index", "state", "try_number", "start_date", "duration", "operator")


class Client(Actions, People):
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

    # DAGs and runs ------------------------------------------------------------------------------------------------
    def dags(self, pattern: str | None = None, *, tags: list[str] | None = None, paused: bool | None = None, limit: int = 1000) -> Table:
        """DAGs whose id matches `pattern` (`%` and `_`)."""
        return self.pages("/dags", "dags", _DAG, limit=limit, **given(dag_id_pattern=pattern, tags=tags, paused=paused))

    def pause(self, dag_id: str, paused: bool = True) -> dict[str, Any]:
        """Pause a DAG, or with False unpause it."""
        found: dict[str, Any] = self.call("PATCH", f"/api/v2/dags/{q(dag_id)}", json={"is_paused": paused})
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
        found: dict[str, Any] = self.call("POST", f"/api/v2/dags/{q(dag_id)}/dagRuns", json=body)
        return found

    def dag(self, dag_id: str) -> dict[str, Any]:
        """One DAG, with all its settings."""
        found: dict[str, Any] = self.call("GET", f"/api/v2/dags/{q(dag_id)}/details")
        return found

    def runs(self, dag_id: str = "~", *, state: str | None = None, run_type: str | None = None, limit: int = 25) -> Table:
        """Newest runs of a DAG, or of all."""
        asked = given(state=state, run_type=run_type)
        return self.pages(f"/dags/{q(dag_id)}/dagRuns", "dag_runs", _RUN, limit=limit, order_by="-run_after", **asked)

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run."""
        found: dict[str, Any] = self.call("GET", f"/api/v2/dags/{q(dag_id)}/dagRuns/{q(run_id)}")
        return found

    def clear(self, dag_id: str, run_id: str, *, only_failed: bool = False, dry_run: bool = False) -> Any:
        """Run a run's tasks again."""
        return self.call(
            "POST", f"/api/v2/dags/{q(dag_id)}/dagRuns/{q(run_id)}/clear", json={"only_failed": only_failed, "dry_run": dry_run}
        )

    def tasks(self, dag_id: str, run_id: str, *, limit: int = 10_000) -> Table:
        """Task instances of a run."""
        return self.pages(f"/dags/{q(dag_id)}/dagRuns/{q(run_id)}/taskInstances", "task_instances", _TASK, limit=limit)

    def task(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1) -> dict[str, Any]:
        """One task instance."""
        base = f"/api/v2/dags/{q(dag_id)}/dagRuns/{q(run_id)}/taskInstances/{q(task_id)}"
        found: dict[str, Any] = self.call("GET", base if map_index < 0 else f"{base}/{map_index}")
        return found

    def wait(
        self, dag_id: str, run_id: str, *, timeout: float | None = None, progress: Progress | bool | None = None, pause: float = 1.0
    ) -> dict[str, Any]:
        """The run when it has ended. Raises TimeoutError when that takes longer than `timeout` seconds.

        `progress`: True shows how far it is, in the notebook's cell or on standard error; a function is told instead.
        """
        shown = Shown() if progress is True else None
        try:
            return self._wait(dag_id, run_id, timeout, shown or progress or None, pause)
        finally:
            if shown is not None:
                shown.close()

    def _wait(self, dag_id: str, run_id: str, timeout: float | None, progress: Any, pause: float) -> dict[str, Any]:
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
        base = f"/api/v2/dags/{q(dag_id)}/dagRuns/{q(run_id)}/taskInstances/{q(task_id)}"
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

    # Assets, backfills, what happened ------------------------------------------------------------------------------
    def assets(self, pattern: str | None = None, *, limit: int = 1000) -> Table:
        """Assets whose name matches `pattern` (`%` and `_`)."""
        return self.pages("/assets", "assets", _ASSET, limit=limit, **given(name_pattern=pattern))

    def asset(self, asset_id: int) -> dict[str, Any]:
        """One asset with its producers and consumers."""
        found: dict[str, Any] = self.call("GET", f"/api/v2/assets/{asset_id}")
        return found

    def backfills(self, dag_id: str) -> Table:
        """Backfills of a DAG."""
        return self.pages("/backfills", "backfills", _BACKFILL, dag_id=dag_id)

    def audit(
        self, *, dag_id: str | None = None, run_id: str | None = None, owner: str | None = None, event: str | None = None, limit: int = 25
    ) -> Table:
        """Newest entries of the audit trail."""
        asked = given(dag_id=dag_id, run_id=run_id, owner=owner, event=event)
        return self.pages("/eventLogs", "event_logs", _AUDIT, limit=limit, order_by="-when", **asked)

    def import_errors(self, *, limit: int = 1000) -> Table:
        """DAG files that cannot be loaded."""
        return self.pages("/importErrors", "import_errors", ("import_error_id", "filename", "bundle_name", "timestamp"), limit=limit)

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
        found: dict[str, Any] = self.call("GET", f"/api/v2/{kind}/{q(name)}")
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
            found = self.call("PATCH", f"/api/v2/{kind}/{q(name)}", json=body, params={"update_mask": list(values)})
        return found

    def delete(self, kind: str, name: str) -> None:
        """Remove it."""
        self.call("DELETE", f"/api/v2/{kind}/{q(name)}")

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
