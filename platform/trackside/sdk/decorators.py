"""`@task` and its kinds, `@setup`, `@teardown` (rows 1.076-1.092, 1.101-1.103).

For DAG files. A decorated function is a `TaskFunction`: calling it makes a task and returns its result (`XComArg`);
`.override()`, `.partial()`, `.expand()`, `.expand_kwargs()` vary that. Kinds resolve lazily through `KINDS` to operator
classes (or decorator functions) in `operators/`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from trackside.sdk.conditions import run_if, skip_if
from trackside.sdk.decorated import KNOWN_CONTEXT_KEYS, DecoratedOperator, check_function, get_unique_task_id
from trackside.sdk.dependency import Dependable
from trackside.sdk.enums import TriggerRule
from trackside.sdk.expand_input import (
    DictOfListsExpandInput,
    ExpandInput,
    ListOfDictsExpandInput,
    check_expand_kwargs,
    is_mappable,
)
from trackside.sdk.mapping import MappedOperator, inherit, no_duplicates
from trackside.sdk.operator import BaseOperatorArgs
from trackside.sdk.operator_meta import init_parameters
from trackside.sdk.xcom_arg import PlainXComArg, XComArg

KINDS: dict[str, str] = {
    "python": "trackside.sdk.operators.decorated:python_task",
    "branch": "trackside.sdk.operators.decorated:branch_task",
    "short_circuit": "trackside.sdk.operators.decorated:short_circuit_task",
    "sensor": "trackside.sdk.operators.decorated:sensor_task",
    "bash": "trackside.sdk.operators.decorated:bash_task",
    "virtualenv": "trackside.sdk.operators.decorated:virtualenv_task",
    "external_python": "trackside.sdk.operators.decorated:external_python_task",
    "branch_virtualenv": "trackside.sdk.operators.decorated:branch_virtualenv_task",
    "branch_external_python": "trackside.sdk.operators.decorated:branch_external_python_task",
    "stub": "trackside.sdk.operators.decorated:stub",
}
"""`task.<kind>` → "module:name" of an operator class or of a decorator function; resolved when first used."""


class TaskFunction:
    """A function that makes tasks."""

    is_task_function = True

    def __init__(
        self,
        function: Callable[..., Any],
        operator_class: type[DecoratedOperator],
        kwargs: Mapping[str, Any] | None = None,
        *,
        multiple_outputs: bool | None = None,
    ) -> None:
        check_function(function)
        functools.update_wrapper(self, function)
        self.function = function
        self.operator_class = operator_class
        self.kwargs: dict[str, Any] = {"task_id": _task_id_of(function), **(kwargs or {})}
        if multiple_outputs is None and "multiple_outputs" not in self.kwargs:
            multiple_outputs = returns_mapping(function)
        if multiple_outputs is not None:
            self.kwargs.setdefault("multiple_outputs", multiple_outputs)
        if "doc_md" not in self.kwargs and not any(self.kwargs.get(f"doc{k}") for k in ("", "_json", "_yaml", "_rst")):
            self.kwargs["doc_md"] = inspect.getdoc(function)
        self.is_setup = False
        self.is_teardown = False
        self.on_failure_fail_dagrun = False

    @property
    def multiple_outputs(self) -> bool:
        """Whether each key of a returned dict becomes an XCom of its own, too."""
        return bool(self.kwargs.get("multiple_outputs"))

    def __call__(self, *args: Any, **kwargs: Any) -> XComArg:
        task_kwargs = self._task_kwargs()
        op_kwargs = {**(task_kwargs.pop("op_kwargs", None) or {}), **kwargs}
        operator = self.operator_class(
            python_callable=self.function, op_args=args, op_kwargs=op_kwargs, **task_kwargs
        )
        self._mark(operator)
        return PlainXComArg(operator)

    def _task_kwargs(self) -> dict[str, Any]:
        kwargs = dict(self.kwargs)
        if self.is_teardown:
            if "trigger_rule" in kwargs:
                raise ValueError("Trigger rule not configurable for teardown tasks.")
            kwargs["trigger_rule"] = TriggerRule.ALL_DONE_SETUP_SUCCESS
        return kwargs

    def _mark(self, operator: Any) -> None:
        operator.is_setup = self.is_setup
        operator.is_teardown = self.is_teardown
        operator.on_failure_fail_dagrun = self.on_failure_fail_dagrun

    def override(self, **kwargs: Any) -> TaskFunction:
        """The same function with other task arguments."""
        new = TaskFunction(self.function, self.operator_class, {**self.kwargs, **kwargs})
        self._mark(new)
        return new

    def partial(self, **kwargs: Any) -> TaskFunction:
        """The same function with some of its own arguments given, for `.expand()`."""
        self._check_names("partial", kwargs)
        old = self.kwargs.get("op_kwargs") or {}
        no_duplicates(old, kwargs, "duplicate partial")
        new = TaskFunction(self.function, self.operator_class, {**self.kwargs, "op_kwargs": {**old, **kwargs}})
        self._mark(new)
        return new

    def expand(self, **kwargs: Any) -> XComArg:
        """One instance per combination of the given lists, dicts or task results; the last argument varies fastest."""
        if not kwargs:
            raise TypeError("no arguments to expand against")
        self._check_names("expand", kwargs)
        for name, value in kwargs.items():
            if not is_mappable(value):
                raise ValueError(
                    f"expand() got an unexpected type {type(value).__name__!r} for keyword argument {name!r}; "
                    "it takes lists, dicts and task results, single values go to partial()"
                )
        no_duplicates(self.kwargs.get("op_kwargs") or {}, kwargs, "mapping already partial")
        return self._expand(DictOfListsExpandInput(kwargs), strict=True)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> XComArg:
        """One instance per dict of arguments in the given list or task result. An index with wrong arguments fails when it runs."""
        check_expand_kwargs(kwargs)
        return self._expand(ListOfDictsExpandInput(kwargs), strict=strict)

    def _expand(self, expand_input: ExpandInput, *, strict: bool) -> XComArg:
        expand_input.check_return_values()
        kwargs = inherit(self.operator_class, self._task_kwargs())
        unknown = [name for name in kwargs if name not in init_parameters(self.operator_class) and name not in BaseOperatorArgs]
        if unknown:
            raise TypeError(f"{self.operator_class.__name__} does not take {', '.join(map(repr, unknown))}")
        kwargs["task_id"] = get_unique_task_id(kwargs["task_id"], kwargs.get("dag"), kwargs.get("task_group"))
        kwargs["python_callable"] = self.function
        marks = {"is_setup": self.is_setup, "is_teardown": self.is_teardown}
        operator = MappedOperator(
            operator_class=self.operator_class,
            partial_kwargs=kwargs,
            expand_input=expand_input,
            op_kwargs_expand_input=expand_input,
            fixed=frozenset(self.kwargs.get("op_kwargs") or ()) if strict else frozenset(),
            marks={**marks, "on_failure_fail_dagrun": self.on_failure_fail_dagrun},
        )
        return PlainXComArg(operator)

    def _check_names(self, what: str, kwargs: Mapping[str, Any]) -> None:
        parameters = inspect.signature(self.function).parameters
        reserved = [name for name in kwargs if name in KNOWN_CONTEXT_KEYS]
        if reserved:
            raise ValueError(f"{what}() cannot set the context key{'s' * (len(reserved) > 1)} {', '.join(reserved)}")
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        unknown = [name for name in kwargs if name not in parameters]
        if unknown:
            many = len(unknown) > 1
            raise TypeError(
                f"{what}() got {'' if many else 'an '}unexpected keyword argument{'s' * many} {', '.join(map(repr, unknown))}"
            )

    def __rshift__(self, other: Any) -> NoReturn:
        raise TypeError(f"call the task before drawing edges: write {self.__name__}() instead of {self.__name__}")  # type: ignore[attr-defined]

    __lshift__ = __rrshift__ = __rlshift__ = __rshift__

    def __repr__(self) -> str:
        return f"<@task {self.kwargs['task_id']}>"


def _task_id_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return re.sub(r"[^\w.-]", "_", name).strip("_") if name == "<lambda>" else name


def returns_mapping(function: Callable[..., Any]) -> bool:
    """Whether the annotation says the function returns a dict (row 1.077)."""
    annotation = inspect.signature(function).return_annotation
    if annotation in (inspect.Signature.empty, None):
        return False
    if isinstance(annotation, str):
        try:
            from typing import get_type_hints

            annotation = get_type_hints(function).get("return")
        except Exception:  # an annotation that cannot be evaluated says nothing
            return False
    from typing import get_origin, is_typeddict

    if is_typeddict(annotation):
        return True
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, Mapping)


TaskDecorator = TaskFunction


def task_decorator_factory(
    python_callable: Callable[..., Any] | None = None,
    *,
    multiple_outputs: bool | None = None,
    decorated_operator_class: type[DecoratedOperator],
    **kwargs: Any,
) -> Any:
    """The body of a task decorator: `@kind` or `@kind(argument=…)` around the given operator class."""
    if isinstance(python_callable, str):
        raise TypeError(f"No args allowed while using @task, use kwargs instead: task_id={python_callable!r}")
    if python_callable is not None:
        return _wrap(python_callable, decorated_operator_class, multiple_outputs, kwargs)
    return lambda function: _wrap(function, decorated_operator_class, multiple_outputs, kwargs)


def _wrap(function: Any, cls: type[DecoratedOperator], multiple_outputs: bool | None, kwargs: dict[str, Any]) -> Any:
    if isinstance(function, TaskFunction):
        raise TypeError(f"{function!r} is a task already; decorate the function once")
    return TaskFunction(function, cls, kwargs, multiple_outputs=multiple_outputs)


class TaskDecoratorCollection:
    """The object `task`: a decorator itself, with one attribute per kind."""

    run_if = staticmethod(run_if)
    skip_if = staticmethod(skip_if)

    def __call__(self, python_callable: Any = None, multiple_outputs: bool | None = None, **kwargs: Any) -> Any:
        return self.python(python_callable, multiple_outputs=multiple_outputs, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        decorator = _decorator(name)
        self.__dict__[name] = decorator
        return decorator


task = TaskDecoratorCollection()


def _decorator(name: str) -> Callable[..., Any]:
    target = KINDS.get(name) or _from_entry_points(name)
    if target is None:
        raise AttributeError(f"task decorator {name!r} not found; known are {', '.join(sorted(KINDS))}")
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise AttributeError(f"task.{name} is not available in Trackside yet ({error})") from None
    if isinstance(found, type):
        return functools.partial(task_decorator_factory, decorated_operator_class=found)
    return found  # type: ignore[no-any-return]  # a decorator function


def _from_entry_points(name: str) -> str | None:
    """Decorators that installed provider packages announce (row 1.087)."""
    from trackside.sdk.installed import announced

    for _, item in announced("task-decorators"):
        if item.get("name") == name:
            module, _, attribute = item["class-name"].rpartition(".")
            return f"{module}:{attribute}"
    return None


# Setup, teardown, result --------------------------------------------------------------------------------------------


def setup(func: Any) -> Any:
    """`@setup` over a function, a task function or a task group function."""
    return _marked(func, "setup")


def teardown(_func: Any = None, *, on_failure_fail_dagrun: bool = False) -> Any:
    """`@teardown` or `@teardown(on_failure_fail_dagrun=True)`."""

    def mark(func: Any) -> Any:
        return _marked(func, "teardown", on_failure_fail_dagrun)

    return mark if _func is None else mark(_func)


def _marked(func: Any, what: str, on_failure_fail_dagrun: bool = False) -> Any:
    from trackside.sdk.taskgroup import TaskGroupFunction

    if isinstance(func, TaskGroupFunction):
        raise TypeError("Task groups cannot be marked as setup or teardown.")
    if isinstance(func, Dependable):
        return func.as_setup() if what == "setup" else func.as_teardown(on_failure_fail_dagrun=on_failure_fail_dagrun)
    function = func if isinstance(func, TaskFunction) else task(func)
    if (function.is_setup and what == "teardown") or (function.is_teardown and what == "setup"):
        raise ValueError(f"{function!r} cannot be both setup and teardown")
    setattr(function, f"is_{what}", True)
    function.on_failure_fail_dagrun = on_failure_fail_dagrun
    return function


def result(value: Any) -> Any:
    """`result(make())` or `@result` over a task function: its return value is the result of the run (row 1.038)."""
    if isinstance(value, TaskFunction):

        @functools.wraps(value.function)
        def call(*args: Any, **kwargs: Any) -> XComArg:
            return result(value(*args, **kwargs))

        return call
    operators: Iterable[Any] = value.leaves if isinstance(value, Dependable) else ()
    for operator in operators:
        operator.dag.add_result(value if isinstance(value, PlainXComArg) else operator)
    return value
