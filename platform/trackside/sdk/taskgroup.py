"""Task groups: tasks under a common prefix that are drawn, connected and (when mapped) expanded together.

For DAG files: `TaskGroup`, `@task_group`. A DAG is itself a root group without id. Relations of a group are relations of
its roots and leaves at the moment they are drawn; nothing about them is stored with the group.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from trackside.sdk.abstract import AbstractOperator, check_group_id
from trackside.sdk.dependency import Dependable
from trackside.sdk.exceptions import DuplicateTaskIdFound, TaskAlreadyInTaskGroup
from trackside.sdk.stack import DagContext, TaskGroupContext
from trackside.sdk.whereabouts import author_line

if TYPE_CHECKING:
    from trackside.sdk.dag import DAG
    from trackside.sdk.mapping import ExpandInput


class TaskGroup(Dependable):
    """A group of tasks and groups. Raises DuplicateTaskIdFound for an id that is taken (rows 1.093, 1.094)."""

    dag: DAG
    parent_group: TaskGroup | None
    default_args: dict[str, Any]
    _group_id: str | None

    def __init__(
        self,
        group_id: str | None,
        prefix_group_id: bool = True,
        parent_group: TaskGroup | None = None,
        dag: DAG | None = None,
        default_args: dict[str, Any] | None = None,
        tooltip: str = "",
        ui_color: str = "CornflowerBlue",
        ui_fgcolor: str = "#000",
        add_suffix_on_collision: bool = False,
        group_display_name: str = "",
        doc_md: str | None = None,
    ) -> None:
        check_group_id(group_id)
        self._start(group_id, prefix_group_id, tooltip, ui_color, ui_fgcolor, group_display_name, doc_md)
        dag = dag or (parent_group.dag if parent_group is not None else DagContext.get_current_dag())
        if dag is None:
            raise RuntimeError(f"TaskGroup {group_id!r} can only be used inside a dag: pass dag= or open `with DAG(...)`")
        self.dag = dag
        parent = parent_group or TaskGroupContext.get_current_task_group(dag)
        assert parent is not None
        self.parent_group = parent
        self.default_args = {**parent.default_args, **(default_args or {})}
        self._group_id = self._free_label(str(group_id), add_suffix_on_collision)
        parent.children[self._group_id_in(parent)] = self
        dag.task_group_dict[self.node_id] = self

    def _start(
        self, group_id: str | None, prefix: bool, tooltip: str, color: str, fgcolor: str, name: str, doc_md: str | None
    ) -> None:
        self._group_id = group_id
        self.prefix_group_id = prefix
        self.tooltip = tooltip
        self.ui_color, self.ui_fgcolor = color, fgcolor
        self.group_display_name = name
        self.doc_md = doc_md
        self.children: dict[str, AbstractOperator | TaskGroup] = {}
        self._passed_on: list[AbstractOperator] = []
        self.parent_group = None
        self.default_args = {}
        self._defined_at = author_line(3)

    @classmethod
    def create_root(cls, dag: DAG) -> TaskGroup:
        """The unnamed group that holds everything of a DAG."""
        group = cls.__new__(cls)
        TaskGroup._start(group, None, True, "", "CornflowerBlue", "#000", "", None)
        group.dag = dag
        return group

    def _free_label(self, group_id: str, add_suffix: bool) -> str:
        """The id (without parents) that is not taken yet."""
        assert self.parent_group is not None
        full = self.parent_group.child_id(group_id)
        if not self.dag.id_taken(full):
            return group_id
        if not add_suffix:
            raise DuplicateTaskIdFound(f"group_id '{full}' has already been added to the DAG")
        return self.dag.unique_label(group_id, self.parent_group)

    def _group_id_in(self, parent: TaskGroup) -> str:
        return parent.child_id(str(self._group_id))

    # Identity --------------------------------------------------------------------------------------------------

    @property
    def is_root(self) -> bool:
        """Whether this is the unnamed group of the whole DAG."""
        return self._group_id is None

    @property
    def group_id(self) -> str | None:
        """Id with the prefixes of the groups around it; None for the root."""
        return None if self._group_id is None else self._prefixed(self._group_id, self.parent_group)

    @staticmethod
    def _prefixed(label: str, group: TaskGroup | None) -> str:
        """The label behind the ids of the groups around it; one step each, however deep they are nested."""
        while group is not None and group._group_id and group.prefix_group_id:
            label, group = f"{group._group_id}.{label}", group.parent_group
        return label

    @property
    def node_id(self) -> str:
        """Same as `group_id`, empty for the root."""
        return self.group_id or ""

    @property
    def edge_id(self) -> str:
        return self.node_id

    @property
    def label(self) -> str:
        """Name for people: the display name, or the id without prefixes."""
        return self.group_display_name or self._group_id or ""

    @property
    def task_group(self) -> TaskGroup | None:
        """The group around this one."""
        return self.parent_group

    @property
    def upstream_join_id(self) -> str:
        """Id of the point where edges into the group meet."""
        return f"{self.node_id}.upstream_join_id"

    @property
    def downstream_join_id(self) -> str:
        """Id of the point where edges out of the group meet."""
        return f"{self.node_id}.downstream_join_id"

    def child_id(self, label: str) -> str:
        """Full id of something called `label` in this group."""
        return self._prefixed(label, self)

    # Members ---------------------------------------------------------------------------------------------------

    def add(self, task: Any) -> Any:
        """Put a task or group into this group. Raises DuplicateTaskIdFound, TaskAlreadyInTaskGroup."""
        if isinstance(task, TaskGroup):
            self.children[task.node_id] = task
            task.parent_group = self
            return task
        existing = task.task_group
        if existing is not None and existing is not self and task.task_id in existing.children:
            raise TaskAlreadyInTaskGroup(task.task_id, existing.node_id, self.node_id)
        self.dag.refuse_duplicate(task)
        self.children[task.task_id] = task
        task.task_group = self
        return task

    def __iter__(self) -> Iterator[AbstractOperator]:
        """All tasks inside, those of inner groups included."""
        for child in self.children.values():
            if isinstance(child, TaskGroup):
                yield from child
            else:
                yield child

    def iter_tasks(self) -> Iterator[AbstractOperator]:
        """Same as iterating."""
        return iter(self)

    def has_task(self, task: AbstractOperator) -> bool:
        """Whether the task is inside, however deep."""
        return any(child is task for child in self)

    def get_child_by_label(self, label: str) -> AbstractOperator | TaskGroup:
        """Direct child by its id without prefix. Raises KeyError."""
        return self.children[self.child_id(label)]

    def get_task_group_dict(self) -> dict[str | None, TaskGroup]:
        """This group and all groups inside, by id."""
        found: dict[str | None, TaskGroup] = {self.group_id: self}
        for child in self.children.values():
            if isinstance(child, TaskGroup):
                found.update(child.get_task_group_dict())
        return found

    # Ends ------------------------------------------------------------------------------------------------------

    def get_roots(self) -> list[AbstractOperator]:
        """Tasks without an upstream task inside."""
        tasks = list(self)
        ids = {task.task_id for task in tasks}
        return [task for task in tasks if task.upstream_task_ids.isdisjoint(ids)]

    def get_leaves(self) -> list[AbstractOperator]:
        """Tasks without a downstream task inside; instead of a teardown, the last work before it (row 1.095)."""
        tasks = {task.task_id: task for task in self}
        leaves: dict[str, AbstractOperator] = {}
        for task in tasks.values():
            if task.downstream_task_ids.isdisjoint(tasks):
                for leaf in [task] if not task.is_teardown else _work_before(task, tasks):
                    leaves[leaf.task_id] = leaf
        return list(leaves.values())

    @property
    def roots(self) -> Sequence[AbstractOperator]:
        return self.get_roots()

    @property
    def leaves(self) -> Sequence[AbstractOperator]:
        return self.get_leaves() or self._passed_on

    def pass_on(self, sources: Sequence[AbstractOperator]) -> None:
        """`a >> empty_group >> b` is `a >> b`."""
        self._passed_on = [*self._passed_on, *sources]

    def iter_mapped_task_groups(self) -> Iterator[MappedTaskGroup]:
        """This group and those around it, as far as they are mapped; innermost first."""
        group: TaskGroup | None = self
        while group is not None:
            if isinstance(group, MappedTaskGroup):
                yield group
            group = group.parent_group

    def __enter__(self) -> Self:
        TaskGroupContext.stack.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        TaskGroupContext.stack.pop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.node_id or 'root'}>"


def _work_before(teardown: AbstractOperator, tasks: dict[str, AbstractOperator]) -> Iterator[AbstractOperator]:
    for task_id in sorted(teardown.upstream_task_ids):
        task = tasks.get(task_id)
        if task is None or task.is_setup:
            continue
        if task.is_teardown:
            yield from _work_before(task, tasks)
        else:
            yield task


class MappedTaskGroup(TaskGroup):
    """A group that runs once per item of its expand input; made by `@task_group` functions with `.expand(...)`."""

    def __init__(self, *, expand_input: ExpandInput, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._expand_input = expand_input
        if next(self.parent_group.iter_mapped_task_groups(), None) is not None:  # type: ignore[union-attr]
            raise NotImplementedError(
                f"task group {self.node_id!r}: a mapped task group inside a mapped task group is not possible; "
                "expand only the outer one"
            )

    @property
    def expand_input(self) -> ExpandInput:
        """What the group is expanded over."""
        return self._expand_input

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        if exc[0] is None:
            for operator in self._expand_input.iter_operators():
                self.set_upstream(operator)


class TaskGroupFunction:
    """What `@task_group` makes of a function: call it to make the group, `.expand` it to make a mapped one."""

    def __init__(self, function: Callable[..., Any], tg_kwargs: dict[str, Any], partial: dict[str, Any] | None = None) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.tg_kwargs = {"group_id": function.__name__, "doc_md": inspect.getdoc(function), **tg_kwargs}
        self.partial_kwargs = partial
        self._expanded = False

    def override(self, **kwargs: Any) -> TaskGroupFunction:
        """The same function with other group arguments."""
        return TaskGroupFunction(self.function, {**self.tg_kwargs, **kwargs}, self.partial_kwargs)

    def partial(self, **kwargs: Any) -> TaskGroupFunction:
        """The same function with some of its arguments given, for `.expand()`."""
        self._check_names("partial", kwargs)
        clash = sorted(set(kwargs) & set(self.partial_kwargs or {}))
        if clash:
            raise TypeError(f"duplicate partial argument(s): {', '.join(clash)}")
        return TaskGroupFunction(self.function, self.tg_kwargs, {**(self.partial_kwargs or {}), **kwargs})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        group = TaskGroup(**{"add_suffix_on_collision": True, **self.tg_kwargs})
        return self._fill(group, args, {**(self.partial_kwargs or {}), **kwargs})

    def expand(self, **kwargs: Any) -> Any:
        """One group per combination of the given lists, dicts or task results."""
        from trackside.sdk.mapping import DictOfListsExpandInput, MappedArgument

        if not kwargs:
            raise TypeError("no arguments to expand against")
        self._check_names("expand", kwargs)
        self._check_clash(kwargs)
        expand_input = DictOfListsExpandInput(kwargs)
        return self._expand(expand_input, {key: MappedArgument(expand_input, key) for key in kwargs})

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> Any:
        """One group per dict of keyword arguments in the given list or task result."""
        from trackside.sdk.mapping import ListOfDictsExpandInput, MappedArgument, check_expand_kwargs

        check_expand_kwargs(kwargs)
        expand_input = ListOfDictsExpandInput(kwargs)
        partial = set(self.partial_kwargs or {})
        names = [name for name in self._named_parameters() if name not in partial]
        return self._expand(expand_input, {name: MappedArgument(expand_input, name) for name in names})

    def _expand(self, expand_input: ExpandInput, arguments: dict[str, Any]) -> Any:
        expand_input.check_return_values()
        self._expanded = True
        group = MappedTaskGroup(expand_input=expand_input, **{"add_suffix_on_collision": True, **self.tg_kwargs})
        return self._fill(group, (), {**(self.partial_kwargs or {}), **arguments})

    def _fill(self, group: TaskGroup, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the function inside the group; its result stands for the group where there is one (row 1.097)."""
        with group:
            if not group.tooltip and self.function.__doc__:
                group.tooltip = self.function.__doc__
            result = self.function(*args, **kwargs)
        return group if result is None else result

    def _named_parameters(self) -> dict[str, inspect.Parameter]:
        found = inspect.signature(self.function).parameters
        return {n: p for n, p in found.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}

    def _check_names(self, what: str, kwargs: Mapping[str, Any]) -> None:
        parameters = inspect.signature(self.function).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        unknown = [name for name in kwargs if name not in parameters]
        if unknown:
            plural = "s" if len(unknown) > 1 else ""
            raise TypeError(f"{what}() got unexpected keyword argument{plural} {', '.join(map(repr, unknown))}")

    def _check_clash(self, kwargs: Mapping[str, Any]) -> None:
        clash = sorted(set(kwargs) & set(self.partial_kwargs or {}))
        if clash:
            raise TypeError(f"mapping already partial argument(s): {', '.join(clash)}")

    def __del__(self) -> None:
        if getattr(self, "partial_kwargs", None) and not self._expanded:
            try:
                warnings.warn(f"Partial task group {self.function.__name__!r} was never mapped!", stacklevel=1)
            except Exception:  # noqa: S110  # at interpreter exit there is nobody left to warn
                pass


def task_group(group_id: Any = None, **kwargs: Any) -> Any:
    """Make task groups from a function: `@task_group` or `@task_group(tooltip="…")`."""
    if callable(group_id):
        return TaskGroupFunction(group_id, kwargs)
    if group_id is not None:
        kwargs["group_id"] = group_id
    return lambda function: TaskGroupFunction(function, kwargs)
