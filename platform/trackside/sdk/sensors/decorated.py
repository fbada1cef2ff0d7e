"""`@task.sensor`: the function is the look."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from trackside.sdk.decorated import DecoratedOperator
from trackside.sdk.sensors.python import PythonSensor


class DecoratedSensorOperator(DecoratedOperator, PythonSensor):
    """`@task.sensor`."""

    template_fields: Collection[str] = ("templates_dict", "op_args", "op_kwargs")
    custom_operator_name = "@task.sensor"
    _airflow_module = "airflow.providers.standard.decorators.sensor"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("multiple_outputs", None)
        call = {"python_callable": python_callable, "op_args": op_args, "op_kwargs": op_kwargs}
        super().__init__(kwargs_to_upstream=call, **call, **kwargs)  # type: ignore[arg-type]  # one dict, three types


sensor_task = DecoratedSensorOperator
