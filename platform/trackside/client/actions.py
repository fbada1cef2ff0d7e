"""Actions with a preview and an undo: `/api/trackside/v1`. With `dry_run=True` they only say what would happen.

Answers are `{"dry_run", "total", "by_state", "tasks", "consequences", "undo", "undo_until"}`; `undo` is for `Client.undo`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trackside.client.calls import OWN, Calls, q
from trackside.client.http import given

TaskChoice = str | tuple[str, int]
"""A task, or (task, map index)."""


class Actions(Calls):
    """What people do to DAGs and runs."""

    def _act(self, path: str, body: dict[str, Any], dry_run: bool) -> dict[str, Any]:
        found: dict[str, Any] = self.call("POST", f"{OWN}{path}", json={**body, "dry_run": dry_run})
        return found

    def switch(self, dag_id: str, paused: bool, *, dry_run: bool = False) -> dict[str, Any]:
        """Pause a DAG, or with False unpause it."""
        return self._act(f"/dags/{q(dag_id)}/pause", {"paused": paused}, dry_run)

    def clear_tasks(
        self, dag_id: str, run_id: str, task_ids: Sequence[TaskChoice] | None = None, *, only_failed: bool = False,
        only_running: bool = False, upstream: bool = False, downstream: bool = False, future: bool = False, past: bool = False,
        latest_version: bool = False, note: str | None = None, dry_run: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """Run tasks again; None: all of the run."""
        body = {
            "only_failed": only_failed, "only_running": only_running, "upstream": upstream, "downstream": downstream, "future": future,
            "past": past, "latest_version": latest_version, **given(task_ids=_tasks(task_ids), note=note),
        }  # fmt: skip
        return self._act(f"/dags/{q(dag_id)}/runs/{q(run_id)}/clear", body, dry_run)

    def mark_tasks(
        self, dag_id: str, run_id: str, task_ids: Sequence[TaskChoice], state: str, *, upstream: bool = False, downstream: bool = False,
        future: bool = False, past: bool = False, note: str | None = None, dry_run: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """Give tasks a state by hand: success, failed or skipped."""
        body = {
            "task_ids": _tasks(task_ids), "state": state, "upstream": upstream, "downstream": downstream, "future": future, "past": past,
            **given(note=note),
        }  # fmt: skip
        return self._act(f"/dags/{q(dag_id)}/runs/{q(run_id)}/mark", body, dry_run)

    def set_run_state(self, dag_id: str, run_id: str, state: str, *, note: str | None = None, dry_run: bool = False) -> dict[str, Any]:
        """Set a whole run to success, failed or queued."""
        return self._act(f"/dags/{q(dag_id)}/runs/{q(run_id)}/state", {"state": state, **given(note=note)}, dry_run)

    def delete_run(self, dag_id: str, run_id: str, *, dry_run: bool = False) -> dict[str, Any]:
        """Delete a run; it cannot be taken back."""
        return self._act(f"/dags/{q(dag_id)}/runs/{q(run_id)}/delete", {}, dry_run)

    def delete_dag(self, dag_id: str, *, dry_run: bool = False) -> dict[str, Any]:
        """Delete a DAG with its runs; it cannot be taken back."""
        return self._act(f"/dags/{q(dag_id)}/delete", {}, dry_run)

    def undo(self, undo: str) -> str:
        """Take an action back, within ten minutes; the sentence that says so."""
        return str(self.call("POST", f"{OWN}/undo/{q(undo)}")["message"])


def _tasks(task_ids: Sequence[TaskChoice] | None) -> list[Any] | None:
    return None if task_ids is None else [one if isinstance(one, str) else list(one) for one in task_ids]
