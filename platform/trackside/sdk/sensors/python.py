"""PythonSensor: waits until a function returns something true."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from trackside.sdk.execution.callables import ExecutionCallableRunner, determine_kwargs
from trackside.sdk.sensor import BaseSensorOperator, PokeReturnValue


class PythonSensor(BaseSensorOperator):
    """Asks `python_callable(*op_args, **op_kwargs)`; context entries it names are passed too."""

    template_fields: Collection[str] = ("templates_dict", "op_args", "op_kwargs")
    shallow_copy_attrs: Sequence[str] = ("python_callable",)

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        templates_dict: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.python_callable = python_callable
        self.op_args: Any = op_args or []
        self.op_kwargs: Any = op_kwargs or {}
        self.templates_dict = templates_dict

    def poke(self, context: Any) -> PokeReturnValue:
        """Ask once."""
        context.update(self.op_kwargs)
        context["templates_dict"] = self.templates_dict
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        self.log.info("Poking callable: %s", self.python_callable)
        answer = ExecutionCallableRunner(self.python_callable, context.get("outlet_events")).run(*self.op_args, **kwargs)
        return answer if isinstance(answer, PokeReturnValue) else PokeReturnValue(bool(answer))
