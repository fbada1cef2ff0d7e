"""Tasks that run once per item: `Op.partial(…).expand(x=…)`, `task.expand(…)`, `expand_kwargs(…)` (rows 1.109-1.125).

While a file is parsed: `OperatorPartial` and `MappedOperator`, with all refusals Airflow knows. In the task process:
`MappedOperator.unmap(expand_input.resolve(context))` gives the operator of one index. The server counts with
`core.mapping`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from trackside.sdk.abstract import AbstractOperator
from trackside.sdk.enums import TriggerRule
from trackside.sdk.expand_input import (
    DictOfListsExpandInput,
    ExpandInput,
    ListOfDictsExpandInput,
    MappedArgument,
    check_expand_kwargs,
    is_mappable,
)
from trackside.sdk.operator import BaseOperator, BaseOperatorArgs
from trackside.sdk.operator_meta import init_parameters, merged_defaults
from trackside.sdk.setup_teardown import SetupTeardownContext
from trackside.sdk.stack import DagContext, TaskGroupContext
from trackside.sdk.whereabouts import author_line
from trackside.sdk.xcom_arg import XComArg

if TYPE_CHECKING:
    from trackside.sdk.taskgroup import TaskGroup

__all__ = [
    "DictOfListsExpandInput",
    "ExpandInput",
    "ListOfDictsExpandInput",
    "MappedArgument",
    "MappedOperator",
    "OperatorPartial",
    "check_expand_kwargs",
    "is_mappable",
    "operator_partial",
]

MAPPABLE_BASE_ARGS = frozenset({"executor_config", "run_as_user", "params", "resources", "executor", "logger_name", "email"})
"""Arguments of BaseOperator that may differ between the instances of a mapped task."""
_UNMAPPABLE = dict.fromkeys(set(BaseOperatorArgs) - MAPPABLE_BASE_ARGS)


class OperatorPartial:
    """What `.partial()` gives: arguments collected so far, waiting for `.expand()`."""

    def __init__(self, operator_class: type[BaseOperator], given: dict[str, Any]) -> None:
        check_names(operator_class, "partial", given)
        self.operator_class = operator_class
        self.given = {name: value for name, value in given.items() if name != "params"}
        """What the author wrote; `kwargs` has the inherited arguments, too, which mapping may override."""
        self.kwargs = inherit(operator_class, given)
        self._expand_called = False

    def expand(self, **mapped_kwargs: Any) -> MappedOperator:
        """One instance per combination of the given lists, dicts or task results; the last one varies fastest."""
        if not mapped_kwargs:
            raise TypeError("no arguments to expand against")
        check_names(self.operator_class, "expand", mapped_kwargs)
        no_duplicates(self.given, mapped_kwargs, "unmappable or already specified")
        return self._expand(DictOfListsExpandInput(mapped_kwargs), strict=True)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> MappedOperator:
        """One instance per dict of arguments in the given list or task result. An index with wrong arguments fails when it runs."""
        check_expand_kwargs(kwargs)
        return self._expand(ListOfDictsExpandInput(kwargs), strict=strict)

    def _expand(self, expand_input: ExpandInput, *, strict: bool) -> MappedOperator:
        self._expand_called = True
        expand_input.check_return_values()
        return MappedOperator(
            operator_class=self.operator_class,
            partial_kwargs=self.kwargs,
            expand_input=expand_input,
            fixed=frozenset(self.given) if strict else frozenset(),
            strict=strict,
        )

    def __del__(self) -> None:
        if not getattr(self, "_expand_called", True):
            try:
                warnings.warn(f"Task {self.kwargs.get('task_id')!r} was never mapped!", stacklevel=1)
            except Exception:  # noqa: S110  # at interpreter exit there is nobody left to warn
                pass

    def __repr__(self) -> str:
        return f"{self.operator_class.__name__}.partial({', '.join(f'{k}={v!r}' for k, v in self.kwargs.items())})"


def operator_partial(cls: type[BaseOperator], kwargs: dict[str, Any]) -> OperatorPartial:
    """`cls.partial(**kwargs)`. Raises TypeError for a missing task_id and for arguments the class does not take."""
    if "task_id" not in kwargs:
        raise TypeError(f"{cls.__name__}.partial(): missing keyword argument 'task_id'")
    return OperatorPartial(cls, kwargs)


def inherit(cls: type[BaseOperator], kwargs: dict[str, Any]) -> dict[str, Any]:
    """`kwargs` with DAG and group, default arguments the class takes, and params filled in."""
    kwargs = dict(kwargs)
    own = kwargs.pop("default_args", None)
    dag, group = kwargs.get("dag"), kwargs.get("task_group")
    if dag is None:
        dag = group.dag if group is not None else DagContext.get_current_dag()
    if group is None:
        group = TaskGroupContext.get_current_task_group(dag)
    defaults, params = merged_defaults(dag, group, own)
    known = init_parameters(cls)
    filled = {name: value for name, value in defaults.items() if name in known and name not in kwargs}
    params.update(kwargs.pop("params", None) or {})
    return {**filled, **kwargs, "dag": dag, "task_group": group, "params": params}


def check_names(cls: type[BaseOperator], function: str, kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments the class does not take (TypeError) and, for expand, values without items (ValueError)."""
    known = init_parameters(cls)
    unknown = [name for name in kwargs if name not in known]
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        raise TypeError(
            f"{cls.__name__}.{function}() got {'' if plural else 'an '}unexpected keyword argument{plural} "
            f"{', '.join(map(repr, unknown))}"
        )
    if function == "partial":
        return
    fixed = [name for name in kwargs if name in BaseOperatorArgs and name not in MAPPABLE_BASE_ARGS]
    if fixed:
        raise TypeError(f"unmappable or already specified argument(s): {', '.join(fixed)}; put them into partial()")
    for name, value in kwargs.items() if function == "expand" else ():
        if not is_mappable(value):
            raise ValueError(
                f"{cls.__name__}.expand() got an unexpected type {type(value).__name__!r} for keyword argument {name}; "
                "it takes lists, dicts and task results, single values go to partial()"
            )


def no_duplicates(first: Mapping[str, Any], second: Mapping[str, Any], why: str) -> None:
    """Raise TypeError for names in both."""
    both = [name for name in second if name in first]
    if both:
        raise TypeError(f"{why} argument{'s' if len(both) > 1 else ''}: {', '.join(both)}")


class MappedOperator(AbstractOperator):
    """A task with one instance per item of its expand input. Arguments of BaseOperator read like on a plain task."""

    is_mapped: ClassVar[bool] = True

    def __init__(
        self,
        *,
        operator_class: type[BaseOperator],
        partial_kwargs: dict[str, Any],
        expand_input: ExpandInput,
        op_kwargs_expand_input: ExpandInput | None = None,
        fixed: frozenset[str] = frozenset(),
        strict: bool = True,
        marks: Mapping[str, Any] | None = None,
    ) -> None:
        kwargs = dict(partial_kwargs)
        dag, group = kwargs.pop("dag", None), kwargs.pop("task_group", None)
        self.operator_class = operator_class
        self.expand_input = expand_input
        self.op_kwargs_expand_input = op_kwargs_expand_input
        """Decorated tasks: what the function's own arguments are expanded over (then `expand_input` is the same)."""
        self.partial_kwargs = kwargs
        self._fixed, self._strict = fixed, strict
        """Arguments no map index may override, and whether it may override none of those that every task has."""
        self._defined_at = author_line()
        # one plain task holds the checked and completed base arguments; it belongs to no DAG
        self._base = BaseOperator(_from_mapped=True, **{k: v for k, v in kwargs.items() if k in BaseOperatorArgs})
        self._dag = None
        self.task_group = None
        self.task_id = group.child_id(kwargs["task_id"]) if group is not None else kwargs["task_id"]
        self.upstream_task_ids = set()
        self.downstream_task_ids = set()
        self.is_setup = self.is_teardown = self.on_failure_fail_dagrun = False
        for name, value in (marks or {}).items():
            setattr(self, name, value)
        self._check(group)
        if group is not None:
            group.add(self)
        if dag is not None:
            dag.add_task(self)
        XComArg.apply_upstream_relationship(self, expand_input.value)
        for name, value in kwargs.items():
            if name in self.template_fields or name in ("op_args", "op_kwargs"):
                XComArg.apply_upstream_relationship(self, value)
        SetupTeardownContext.add(self)

    def _check(self, group: TaskGroup | None) -> None:
        if group is not None and next(group.iter_mapped_task_groups(), None) is not None:
            raise NotImplementedError(
                f"task {self.task_id!r}: operator expansion in an expanded task group is not possible; expand only the group"
            )
        if self._base.trigger_rule is TriggerRule.ALWAYS and any(self.expand_input.iter_operators()):
            raise ValueError("Task-generated mapping within a task using 'expand' is not allowed with trigger rule 'always'.")

    def __getattr__(self, name: str) -> Any:
        """Base arguments as checked; class attributes (template_fields, colours, …) of the operator."""
        if name.startswith("__") or "_base" not in self.__dict__:
            raise AttributeError(name)
        if name in self.partial_kwargs and name not in BaseOperatorArgs:
            return self.partial_kwargs[name]
        found = getattr(self.operator_class, name, None) if name not in self._base.__dict__ else None
        if found is not None and not callable(found) and not isinstance(found, property):
            return found
        if name in self._base.__dict__ or name in ("task_display_name", "log"):
            value = getattr(self._base, name)
            return self.task_id if name == "task_display_name" and not self._base._task_display_name else value
        raise AttributeError(f"{type(self).__name__} of {self.operator_class.__name__} has no attribute {name!r}")

    @property
    def params(self) -> Any:  # type: ignore[override]  # fixed once the task is made
        return self._base.params

    @property
    def trigger_rule(self) -> Any:
        return self._base.trigger_rule

    @trigger_rule.setter
    def trigger_rule(self, value: Any) -> None:
        self._base.trigger_rule = value
        self.partial_kwargs["trigger_rule"] = value

    @property
    def inlets(self) -> Any:  # type: ignore[override]  # fixed once the task is made
        return self._base.inlets

    @property
    def outlets(self) -> Any:  # type: ignore[override]  # fixed once the task is made
        return self._base.outlets

    @property
    def owner(self) -> Any:  # type: ignore[override]  # fixed once the task is made
        return self._base.owner

    # In the task process ----------------------------------------------------------------------------------------

    def unmap(self, resolve: Mapping[str, Any]) -> BaseOperator:
        """The operator of one index. `resolve`: what `expand_input.resolve(context)` gave."""
        task = self.operator_class(**self._unmapped_kwargs(resolve), _from_mapped=True)
        task.__dict__["_ready"] = False  # rendering must not draw edges
        task.task_id = self.task_id
        task._dag, task.task_group = self._dag, self.task_group
        task.upstream_task_ids, task.downstream_task_ids = self.upstream_task_ids, self.downstream_task_ids
        task.is_setup, task.is_teardown = self.is_setup, self.is_teardown
        task.on_failure_fail_dagrun = self.on_failure_fail_dagrun
        task._defined_at = self._defined_at
        return task

    def unmap_in(self, context: Mapping[str, Any]) -> BaseOperator:
        """The operator of the index that runs in this context."""
        return self.unmap(self.expand_input.resolve(context))

    def _unmapped_kwargs(self, resolve: Mapping[str, Any]) -> dict[str, Any]:
        kwargs = dict(self.partial_kwargs)
        if self.op_kwargs_expand_input is None:
            new = dict(resolve)
            params = new.pop("params", None)
            if self._strict:
                no_duplicates({**dict.fromkeys(self._fixed), **_UNMAPPABLE}, new, "unmappable or already specified")
            kwargs.update(new)
            if params:
                kwargs["params"] = {**dict(kwargs.get("params") or {}), **params}
        else:
            own = dict(kwargs.get("op_kwargs") or {})
            no_duplicates({name: own[name] for name in self._fixed if name in own}, resolve, "mapping already partial")
            kwargs["op_kwargs"] = {**own, **resolve}
        return kwargs

    def get_extra_links(self, ti: Any, name: str) -> str | None:
        """Address of one of the operator's links for a task instance."""
        found = {link.name: link for link in self.extra_link_list()}.get(name)
        return found.get_link(self, ti_key=getattr(ti, "key", ti)) if found else None

    def iter_mapped_dependencies(self) -> Iterator[AbstractOperator]:
        """Tasks whose results decide how many instances there are."""
        return self.expand_input.iter_operators()


