"""`@task.run_if` and `@task.skip_if`: conditions checked right before a task runs (row 1.088).

For DAG files; the condition runs in the worker, so that a skipped task did start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trackside.sdk.exceptions import AirflowSkipException

Condition = Callable[[Any], "bool | tuple[bool, str | None]"]


def run_if(condition: Condition, skip_message: str | None = None) -> Callable[[Any], Any]:
    """Run the task only if `condition(context)` is true; it may return (bool, message)."""
    return _before(condition, wanted=True, message=skip_message)


def skip_if(condition: Condition, skip_message: str | None = None) -> Callable[[Any], Any]:
    """Skip the task if `condition(context)` is true; it may return (bool, message)."""
    return _before(condition, wanted=False, message=skip_message)


def _before(condition: Condition, *, wanted: bool, message: str | None) -> Callable[[Any], Any]:
    def decorate(task_function: Any) -> Any:
        if not getattr(task_function, "is_task_function", False):
            raise TypeError("run_if and skip_if can only be used with task. Write @task.run_if(...) above @task")
        task_function.kwargs["pre_execute"] = _Check(condition, wanted, message, task_function.kwargs.get("pre_execute"))
        return task_function

    return decorate


class _Check:
    """The pre_execute hook: asks the condition, then calls the hook that was there before."""

    def __init__(self, condition: Condition, wanted: bool, message: str | None, then: Any) -> None:
        self._condition, self._wanted, self._message, self._then = condition, wanted, message, then

    def __call__(self, context: Any) -> None:
        answer = self._condition(context)
        verdict, message = answer if isinstance(answer, tuple) else (answer, None)
        if bool(verdict) is not self._wanted:
            raise AirflowSkipException(message or self._message or f"Task {context['task'].task_id} is skipped by its condition")
        if self._then is not None:
            self._then(context)
