"""Operators that call a Python function: plain, branching, short-circuiting, and in another interpreter.

For DAG authors; the decorators `@task`, `@task.branch` and `@task.short_circuit` build on these.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from trackside.sdk.exceptions import AirflowException
from trackside.sdk.execution.callables import ExecutionCallableRunner, KeywordParameters
from trackside.sdk.operator import BaseOperator
from trackside.sdk.operators.branch import BaseBranchOperator
from trackside.sdk.operators.skipping import SkipMixin


class PythonOperator(BaseOperator):
    """Calls `python_callable(*op_args, **op_kwargs)`; context entries it names are passed too."""

    template_fields: Collection[str] = ("templates_dict", "op_args", "op_kwargs")
    template_fields_renderers: ClassVar[dict[str, str]] = {"templates_dict": "json", "op_args": "py", "op_kwargs": "py"}
    ui_color = "#ffefeb"
    shallow_copy_attrs: Sequence[str] = ("python_callable",)

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        templates_dict: dict[str, Any] | None = None,
        templates_exts: Sequence[str] | None = None,
        show_return_value_in_logs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not callable(python_callable):
            raise AirflowException("`python_callable` param must be callable")
        self.python_callable = python_callable
        self.op_args: Any = op_args or ()
        self.op_kwargs: Any = op_kwargs or {}
        self.templates_dict = templates_dict
        if templates_exts:
            self.template_ext = templates_exts
        self.show_return_value_in_logs = show_return_value_in_logs

    def execute(self, context: Any) -> Any:
        """Call the function."""
        context.update(self.op_kwargs)
        context["templates_dict"] = self.templates_dict
        self.op_kwargs = self.determine_kwargs(context)
        self._outlet_events = context.get("outlet_events")
        result = self.execute_callable()
        if self.show_return_value_in_logs:
            self.log.info("Done. Returned value was: %s", result)
        else:
            self.log.info("Done. Returned value not shown")
        return result

    def determine_kwargs(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keyword arguments for the function."""
        return KeywordParameters.determine(self.python_callable, self.op_args, context).unpacking()

    def execute_callable(self) -> Any:
        """Call the function with what `determine_kwargs` found. Coroutines and generators are run to their end."""
        runner = ExecutionCallableRunner(self.python_callable, getattr(self, "_outlet_events", None), logger=self.log)
        return runner.run(*self.op_args, **self.op_kwargs)


class BranchPythonOperator(BaseBranchOperator, PythonOperator):
    """The function returns the id, or ids, of the tasks or groups to follow; None follows none."""

    def choose_branch(self, context: Any) -> str | Iterable[str] | None:
        """Ask the function."""
        return PythonOperator.execute(self, context)


class ShortCircuitOperator(PythonOperator, SkipMixin):
    """Goes on if the function returns something true; else everything downstream is skipped.

    With `ignore_downstream_trigger_rules=False` only the tasks directly after it are skipped and the trigger rules
    decide about the rest. Teardowns are never skipped.
    """

    _skips: ClassVar[str | None] = "short_circuit"
    inherits_from_skipmixin = True

    def __init__(self, *, ignore_downstream_trigger_rules: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_downstream_trigger_rules = ignore_downstream_trigger_rules

    def execute(self, context: Any) -> Any:
        """Ask the function."""
        condition = super().execute(context)
        self.log.info("Condition result is %s", condition)
        if condition:
            self.log.info("Proceeding with downstream tasks...")
            return condition
        task = context["task"]
        if not task.downstream_task_ids:
            self.log.info("No downstream tasks; nothing to do.")
            return condition
        if self.ignore_downstream_trigger_rules:
            ids = task.get_flat_relative_ids(upstream=False)
        else:
            ids = task.get_direct_relative_ids(upstream=False)
        dag = task.dag
        skipped = sorted(task_id for task_id in ids if not dag.get_task(task_id).is_teardown)
        self.log.info("Skipping downstream tasks: %s", skipped)
        self.skip(context["ti"], skipped)
        return condition
