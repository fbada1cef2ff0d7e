"""Checks that need the finished DAG: circles, schedules that lack values, setups that could be overtaken.

For `parsing.py`, which turns what is raised here into an error at a line of the file, and for `DAG.validate()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trackside.sdk.enums import TriggerRule
from trackside.sdk.exceptions import AirflowDagCycleException, ParamValidationError

if TYPE_CHECKING:
    from trackside.sdk.abstract import AbstractOperator
    from trackside.sdk.dag import DAG


class Misplaced(ValueError):
    """Something is wrong with one task of a DAG; `task` says where."""

    def __init__(self, message: str, task: AbstractOperator) -> None:
        super().__init__(message)
        self.task = task


def validate(dag: DAG) -> None:
    """Raise for the first thing that is wrong: see the functions below."""
    check_references(dag)
    check_cycle(dag)
    check_params(dag)
    check_setups(dag)
    check_mapped_groups(dag)


def check_references(dag: DAG) -> None:
    """Every neighbour is a task of this DAG; nothing else can be scheduled."""
    for task in dag.tasks:
        lost = sorted(i for i in task.downstream_task_ids | task.upstream_task_ids if i not in dag.task_dict)
        if lost:
            raise Misplaced(f"Task {task.task_id!r} depends on {', '.join(lost)}, which is not in DAG {dag.dag_id!r}", task)


def check_cycle(dag: DAG) -> None:
    """Raise AirflowDagCycleException naming one circle."""
    waiting = {task.task_id: len(task.upstream_task_ids) for task in dag.tasks}
    ready = [task_id for task_id, count in waiting.items() if count == 0]
    while ready:
        for down in dag.task_dict[ready.pop()].downstream_task_ids:
            waiting[down] -= 1
            if waiting[down] == 0:
                ready.append(down)
    left = {task_id for task_id, count in waiting.items() if count > 0}
    if not left:
        return
    circle = _one_circle(dag, left)
    places = [f"{task_id} (line {line})" for task_id in circle[:-1] if (line := dag.task_dict[task_id]._defined_at[1])]
    error = AirflowDagCycleException(
        f"Cycle detected in DAG: {' -> '.join(circle)}. Remove one of these dependencies"
        f"{f'; the tasks are {chr(44).join(places)}' if places else ''}".replace(",", ", ")
    )
    error.task = dag.task_dict[circle[0]]  # type: ignore[attr-defined]  # for the line of the error
    raise error


def _one_circle(dag: DAG, left: set[str]) -> list[str]:
    # whatever is left has something left upstream, so walking up must come round
    path: list[str] = []
    task_id = min(left)
    while task_id not in path:
        path.append(task_id)
        task_id = min(up for up in dag.task_dict[task_id].upstream_task_ids if up in left)
    return [*path[path.index(task_id) :], task_id][::-1]


def check_params(dag: DAG) -> None:
    """A DAG that starts by itself needs a valid value for every param (row 1.014)."""
    if not dag.timetable.can_be_scheduled:
        return
    try:
        dag.params.validate()
    except ParamValidationError as error:
        raise ValueError(
            f"DAG {dag.dag_id!r} is not allowed to define a Schedule, as there are required params without default values, "
            f"or the default values are invalid: {error}"
        ) from None


def check_setups(dag: DAG) -> None:
    """What follows a setup directly must wait for its success (row 1.107)."""
    for task in dag.tasks:
        if not task.is_setup:
            continue
        for down in task.downstream_list:
            if not down.is_teardown and down.trigger_rule != TriggerRule.ALL_SUCCESS:
                raise Misplaced(
                    f"Setup tasks must be followed with trigger rule ALL_SUCCESS: task {down.task_id!r} follows the setup "
                    f"{task.task_id!r} with trigger rule {str(down.trigger_rule)!r}",
                    down,
                )


def check_mapped_groups(dag: DAG) -> None:
    """In a mapped group nothing may start before its map index is known."""
    for task in dag.tasks:
        group = task.get_closest_mapped_task_group()
        if group is not None and task.trigger_rule == TriggerRule.ALWAYS and any(group.expand_input.iter_operators()):
            raise Misplaced(
                f"Task-generated mapping within a mapped task group is not allowed with trigger rule 'always' (task {task.task_id!r})",
                task,
            )
