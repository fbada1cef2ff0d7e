"""Tasks that decide which of the tasks after them are skipped: `SkipMixin` and `BranchMixIn`.

For the branch and short-circuit operators. The decision goes into the report (`FinishReport.skip`), which the planner
applies, and stays readable as the XCom `skipmixin_key`, as in Airflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from trackside.sdk.exceptions import AirflowException, DownstreamTasksSkipped
from trackside.sdk.log import LoggingMixin

XCOM_SKIPMIXIN_KEY = "skipmixin_key"
XCOM_SKIPMIXIN_SKIPPED = "skipped"
XCOM_SKIPMIXIN_FOLLOWED = "followed"


class SkipMixin(LoggingMixin):
    """Mixin of operators that skip tasks downstream."""

    def skip(self, ti: Any, tasks: Iterable[Any]) -> None:
        """End the try well and have `tasks` skipped. Raises DownstreamTasksSkipped if there are any and this is no mapped instance."""
        ids = [getattr(task, "task_id", task) for task in tasks]
        if not ids:
            return
        _decide(ti, XCOM_SKIPMIXIN_SKIPPED, ids)
        if _ends_by_skipping(ti):
            raise DownstreamTasksSkipped(tasks=ids)

    def skip_all_except(self, ti: Any, branch_task_ids: str | Iterable[str] | None) -> None:
        """Follow these direct downstream tasks and have the others skipped.

        A task that can be reached from a followed one is not skipped. Raises DownstreamTasksSkipped if any is skipped,
        AirflowException if an id is not that of a task of this DAG.
        """
        self.log.info("Following branch %s", branch_task_ids)
        wanted = _as_ids(branch_task_ids)
        task, dag = ti.task, ti.task.dag
        unknown = wanted - set(dag.task_ids)
        if unknown:
            raise AirflowException(
                f"'branch_task_ids' must contain only valid task_ids. Invalid tasks found: {unknown}. "
                f"Return ids of tasks directly after {task.task_id}: {sorted(task.downstream_task_ids)}"
            )
        reachable = set(wanted)
        for task_id in wanted:
            reachable |= dag.get_task(task_id).get_flat_relative_ids(upstream=False)
        direct = sorted(task.downstream_task_ids)
        followed = [task_id for task_id in direct if task_id in reachable]
        skipped = [task_id for task_id in direct if task_id not in reachable]
        if not direct:
            return
        self.log.info("Skipping tasks %s", skipped)
        _decide(ti, XCOM_SKIPMIXIN_FOLLOWED, followed)
        if skipped and _ends_by_skipping(ti):
            raise DownstreamTasksSkipped(tasks=skipped)


def _ends_by_skipping(ti: Any) -> bool:
    """Mapped instances go on to return their value: only their decision tells what is skipped (observed on Airflow 3.3.2)."""
    return getattr(ti, "map_index", -1) < 0


def _decide(ti: Any, mode: str, ids: list[str]) -> None:
    if hasattr(ti, "xcom_push_at_end"):
        ti.skip_decision = {"mode": mode, "ids": ids}
        ti.xcom_push_at_end(XCOM_SKIPMIXIN_KEY, {mode: ids})
    else:
        ti.xcom_push(key=XCOM_SKIPMIXIN_KEY, value={mode: ids})


def _as_ids(branches: str | Iterable[str] | None) -> set[str]:
    if branches is None:
        return set()
    if isinstance(branches, str):
        return {branches}
    if not isinstance(branches, Iterable):
        raise AirflowException(
            "'branch_task_ids' must be either None, a task ID, or an Iterable of IDs, "
            f"but got {type(branches).__name__!r}."
        )
    found = list(branches)
    wrong = [item for item in found if not isinstance(item, str)]
    if wrong:
        raise AirflowException(
            "'branch_task_ids' expected all task IDs are strings. "
            f"Invalid tasks found: {({(item, type(item).__name__) for item in wrong})}."
        )
    return set(found)


class BranchMixIn(SkipMixin):
    """Mixin of operators that choose where to go on."""

    def do_branch(self, context: Any, branches_to_execute: str | Iterable[str] | None) -> Any:
        """Follow the chosen tasks or groups; returns the choice if nothing is skipped by it."""
        expanded = self._expand_task_group_roots(context["ti"], branches_to_execute)
        self.skip_all_except(context["ti"], expanded)
        return branches_to_execute

    def _expand_task_group_roots(self, ti: Any, branches: str | Iterable[str] | None) -> str | Sequence[str] | None:
        """Ids with those of groups replaced by the groups' first tasks."""
        if branches is None:
            return None
        if isinstance(branches, str) or not isinstance(branches, Iterable):
            branches = [branches]  # type: ignore[list-item]
        groups = ti.task.dag.task_group_dict
        found: list[str] = []
        for branch in branches:
            if isinstance(branch, str) and branch in groups:
                found.extend(root.task_id for root in groups[branch].roots)
            else:
                found.append(branch)
        return found
