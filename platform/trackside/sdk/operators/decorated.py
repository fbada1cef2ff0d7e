"""What is behind `@task`, `@task.branch`, `@task.short_circuit` and `@task.bash`.

For `decorators.py`, which finds the `…_task` names here when a file first uses them. Each class joins
`DecoratedOperator` (the function and its arguments) with the operator that does the work.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from trackside.sdk.decorated import DecoratedOperator
from trackside.sdk.execution.callables import ExecutionCallableRunner, determine_kwargs
from trackside.sdk.operators.bash import BashOperator
from trackside.sdk.operators.python import BranchPythonOperator, PythonOperator, ShortCircuitOperator
from trackside.sdk.types import SET_DURING_EXECUTION

_LATER = {
    "sensor_task": "trackside.sdk.sensors.decorated",
    "virtualenv_task": "trackside.sdk.operators.decorated_venv",
    "external_python_task": "trackside.sdk.operators.decorated_venv",
    "branch_virtualenv_task": "trackside.sdk.operators.decorated_venv",
    "branch_external_python_task": "trackside.sdk.operators.decorated_venv",
}
"""Kinds whose operators are imported only when a file uses them."""


class _PythonDecoratedOperator(DecoratedOperator, PythonOperator):
    """`@task`: calls the function."""

    template_fields: Collection[str] = ("templates_dict", "op_args", "op_kwargs")
    template_fields_renderers: ClassVar[dict[str, str]] = PythonOperator.template_fields_renderers
    custom_operator_name = "@task"
    _airflow_module = "airflow.providers.standard.decorators.python"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        call = {"python_callable": python_callable, "op_args": op_args, "op_kwargs": op_kwargs}
        super().__init__(kwargs_to_upstream=call, **call, **kwargs)  # type: ignore[arg-type]  # one dict, three types


class _BranchPythonDecoratedOperator(_PythonDecoratedOperator, BranchPythonOperator):
    """`@task.branch`: the function names the tasks to follow."""

    custom_operator_name = "@task.branch"
    _airflow_module = "airflow.providers.standard.decorators.branch_python"


class _ShortCircuitDecoratedOperator(_PythonDecoratedOperator, ShortCircuitOperator):
    """`@task.short_circuit`: a false result skips what follows."""

    custom_operator_name = "@task.short_circuit"
    _airflow_module = "airflow.providers.standard.decorators.short_circuit"


class _BashDecoratedOperator(DecoratedOperator, BashOperator):
    """`@task.bash`: the function returns the command."""

    template_fields: Collection[str] = (*DecoratedOperator.template_fields, *BashOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **BashOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.bash"
    overwrite_rtif_after_execution = True
    _airflow_module = "airflow.providers.standard.decorators.bash"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            bash_command=SET_DURING_EXECUTION,
            **kwargs,
        )

    def execute(self, context: Any) -> Any:
        """Ask the function for the command, render it, run it."""
        context.update(self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        command = ExecutionCallableRunner(self.python_callable, context.get("outlet_events")).run(*self.op_args, **kwargs)
        if not isinstance(command, str) or not command.strip():
            raise TypeError("The returned value from the TaskFlow callable must be a non-empty string.")
        self.bash_command = command
        context["ti"].render_templates()
        return super().execute(context)


class _StubOperator(DecoratedOperator):
    """`@task.stub`: a place in the graph for work that a worker in another language does; the function is empty."""

    custom_operator_name = "@task.stub"
    is_stub = True
    _airflow_module = "airflow.providers.standard.decorators.stub"

    def __init__(self, *, python_callable: Callable[..., Any], task_id: str, **kwargs: Any) -> None:
        super().__init__(python_callable=python_callable, task_id=task_id, **kwargs)
        if getattr(self, "retry_policy", None) is not None:
            raise ValueError("@task.stub does not support `retry_policy`, which runs in Python. Use `retries` instead.")
        body = ast.parse(self.get_python_source()).body
        if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
            raise RuntimeError("@task.stub expects a single function that is not async")
        for statement in body[0].body:
            words = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if not isinstance(statement, ast.Pass) and not words:
                raise ValueError(
                    f"Functions passed to @task.stub must be an empty function (`pass`, or `...` only) (got {ast.unparse(statement)})"
                )

    def execute(self, context: Any) -> Any:
        """Refuse: a Python worker has nothing to run here."""
        raise RuntimeError(
            "@task.stub should not be executed directly: set its queue to one that only workers of that language serve"
        )


python_task = _PythonDecoratedOperator
stub = _StubOperator
branch_task = _BranchPythonDecoratedOperator
short_circuit_task = _ShortCircuitDecoratedOperator
bash_task = _BashDecoratedOperator


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LATER[name]), name)
