"""What every task has, mapped or not: identity, place in DAG and group, neighbours, setup and teardown marks.

For `operator.BaseOperator` and `mapping.MappedOperator`. Next door: `dependency.py` draws the edges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from trackside.sdk.dependency import Dependable
from trackside.sdk.enums import TriggerRule, WeightRule
from trackside.sdk.plugins.loading import extra_links as plugin_links
from trackside.sdk.setup_teardown import SetupTeardownContext

if TYPE_CHECKING:
    from trackside.sdk.dag import DAG
    from trackside.sdk.links import BaseOperatorLink
    from trackside.sdk.taskgroup import MappedTaskGroup, TaskGroup
    from trackside.sdk.xcom_arg import PlainXComArg

DEFAULT_OWNER = "airflow"
DEFAULT_POOL_NAME = "default_pool"
DEFAULT_POOL_SLOTS = 1
DEFAULT_PRIORITY_WEIGHT = 1
DEFAULT_QUEUE = "default"
DEFAULT_RETRIES = 0
DEFAULT_RETRY_DELAY_S = 300.0
DEFAULT_TRIGGER_RULE = TriggerRule.ALL_SUCCESS
DEFAULT_WEIGHT_RULE = WeightRule.DOWNSTREAM
MAXIMUM_PRIORITY_WEIGHT = 2**31 - 1
MINIMUM_PRIORITY_WEIGHT = -(2**31)
ID_LENGTH = 250

_ID = re.compile(r"^[\w.-]+$")
_GROUP_ID = re.compile(r"^[\w-]+$")


def check_id(value: Any, what: str = "task_id", max_length: int = ID_LENGTH) -> None:
    """Refuse ids that could not be stored or linked to. Raises TypeError or ValueError saying what is allowed."""
    _check_text(value, what, max_length)
    if not _ID.match(value):
        raise ValueError(
            f"The {what} {value!r} has to be made of alphanumeric characters, dashes, dots, and underscores exclusively"
        )
    if ".." in value:
        raise ValueError(f"The {what} {value!r} must not contain '..'")


def check_group_id(value: Any) -> None:
    """As `check_id`, without dots: the dot separates a group from what is in it."""
    _check_text(value, "group_id", 200)
    if not _GROUP_ID.match(value) or not value.isascii():
        raise ValueError(
            f"The group_id {value!r} has to be made of ASCII alphanumeric characters, dashes, and underscores exclusively"
        )


def _check_text(value: Any, what: str, max_length: int) -> None:
    if not isinstance(value, str):
        raise TypeError(f"The {what} has to be a string and is {type(value).__name__}: {value!r}")
    if len(value) > max_length:
        raise ValueError(f"The {what} has to be at most {max_length} characters, not {len(value)}: {value[:40]}…")
    if not value:
        raise ValueError(f"The {what} must not be empty")


class AbstractOperator(Dependable):
    """One node of the DAG's graph."""

    task_id: str
    task_group: TaskGroup | None
    upstream_task_ids: set[str]
    downstream_task_ids: set[str]
    is_setup: bool
    is_teardown: bool
    on_failure_fail_dagrun: bool
    trigger_rule: Any
    inlets: Any
    outlets: Any
    params: Any
    owner: str

    is_mapped: ClassVar[bool] = False
    operator_class: Any
    _dag: DAG | None = None
    _defined_at: tuple[str, int] = ("", 0)
    """(file, line) where the author wrote this task."""

    # Identity --------------------------------------------------------------------------------------------------

    @property
    def node_id(self) -> str:
        """Same as `task_id`."""
        return self.task_id

    @property
    def edge_id(self) -> str:
        return self.task_id

    @property
    def label(self) -> str:
        """Id without the prefix of its group."""
        group = self.task_group
        if group is not None and group.node_id and group.prefix_group_id:
            return self.task_id.removeprefix(f"{group.node_id}.")
        return self.task_id

    @property
    def operator_name(self) -> str:
        """Name of the kind of task, for people."""
        cls = self.operator_class if isinstance(self.operator_class, type) else type(self)
        return getattr(cls, "custom_operator_name", None) or cls.__name__

    @property
    def task_type(self) -> str:
        """Class name of the operator."""
        return self.operator_name

    @property
    def dag_id(self) -> str:
        """Id of the DAG, or an ad-hoc one for a task that has none."""
        return self._dag.dag_id if self._dag is not None else f"adhoc_{self.owner}"

    def has_dag(self) -> bool:
        """Whether the task belongs to a DAG already."""
        return self._dag is not None

    def get_dag(self) -> DAG | None:
        """The DAG, or None."""
        return self._dag

    @property
    def dag(self) -> DAG:
        """The DAG. Raises RuntimeError while there is none."""
        if self._dag is None:
            raise RuntimeError(f"Operator {self!r} has not been assigned to a Dag yet")
        return self._dag

    @dag.setter
    def dag(self, dag: DAG | None) -> None:
        if dag is None:
            self._dag = None
            return
        if self._dag is not None and self._dag is not dag:
            raise ValueError(f"The Dag assigned to {self!r} can not be changed.")
        if self.task_id not in dag.task_dict:
            dag.add_task(self)
        self._dag = dag

    # Neighbours ------------------------------------------------------------------------------------------------

    @property
    def roots(self) -> Sequence[AbstractOperator]:
        return (self,)

    @property
    def leaves(self) -> Sequence[AbstractOperator]:
        return (self,)

    @property
    def upstream_list(self) -> list[AbstractOperator]:
        """Tasks directly upstream."""
        return [self.dag.get_task(task_id) for task_id in sorted(self.upstream_task_ids)]

    @property
    def downstream_list(self) -> list[AbstractOperator]:
        """Tasks directly downstream."""
        return [self.dag.get_task(task_id) for task_id in sorted(self.downstream_task_ids)]

    def get_direct_relative_ids(self, upstream: bool = False) -> set[str]:
        """Ids of the direct upstream or downstream tasks."""
        return self.upstream_task_ids if upstream else self.downstream_task_ids

    def get_direct_relatives(self, upstream: bool = False) -> list[AbstractOperator]:
        """The direct upstream or downstream tasks."""
        return self.upstream_list if upstream else self.downstream_list

    def get_flat_relative_ids(self, *, upstream: bool = False) -> set[str]:
        """Ids of everything upstream or downstream, however far."""
        seen: set[str] = set()
        stack = list(self.get_direct_relative_ids(upstream))
        while stack:
            task_id = stack.pop()
            if task_id not in seen:
                seen.add(task_id)
                stack.extend(self.dag.get_task(task_id).get_direct_relative_ids(upstream))
        return seen

    def get_flat_relatives(self, upstream: bool = False) -> list[AbstractOperator]:
        """Everything upstream or downstream, however far."""
        return [self.dag.get_task(task_id) for task_id in sorted(self.get_flat_relative_ids(upstream=upstream))]

    def iter_mapped_task_groups(self) -> Iterator[MappedTaskGroup]:
        """Mapped groups around this task, innermost first."""
        if self.task_group is not None:
            yield from self.task_group.iter_mapped_task_groups()

    def get_closest_mapped_task_group(self) -> MappedTaskGroup | None:
        """Innermost mapped group around this task."""
        return next(self.iter_mapped_task_groups(), None)

    def get_needs_expansion(self) -> bool:
        """Whether there will be one instance per map index."""
        return self.is_mapped or self.get_closest_mapped_task_group() is not None

    # Setup and teardown ----------------------------------------------------------------------------------------

    def as_setup(self) -> Self:
        """Mark as setup. Raises ValueError for a teardown."""
        if self.is_teardown:
            raise ValueError(f"Task {self.task_id!r} is a teardown already; a task cannot be both setup and teardown")
        self.is_setup = True
        return self

    def as_teardown(self, *, setups: Any = None, on_failure_fail_dagrun: bool | None = None) -> Self:
        """Mark as teardown; `setups` become setups and come before it.

        It runs after everything between them whatever happened there, unless the setups did not succeed. Its failure
        does not fail the run unless `on_failure_fail_dagrun`.
        """
        if self.is_setup:
            raise ValueError(f"Task {self.task_id!r} is a setup already; a task cannot be both setup and teardown")
        self.is_teardown = True
        self.trigger_rule = TriggerRule.ALL_DONE_SETUP_SUCCESS
        if on_failure_fail_dagrun is not None:
            self.on_failure_fail_dagrun = on_failure_fail_dagrun
        if setups is not None:
            for setup in setups if isinstance(setups, Iterable) and not isinstance(setups, Dependable) else [setups]:
                setup.as_setup()
                setup.set_downstream(self)
        return self

    def __enter__(self) -> Self:
        SetupTeardownContext.enter([self])
        return self

    def __exit__(self, *exc: object) -> None:
        SetupTeardownContext.exit()

    # Results and assets ----------------------------------------------------------------------------------------

    @property
    def output(self) -> PlainXComArg:
        """The task's return value, to be passed to other tasks."""
        from trackside.sdk.xcom_arg import PlainXComArg

        return PlainXComArg(operator=self)

    def add_inlets(self, inlets: Iterable[Any]) -> None:
        """More inlets."""
        self.inlets.extend(inlets)

    def add_outlets(self, outlets: Iterable[Any]) -> None:
        """More outlets."""
        self.outlets.extend(outlets)

    def get_inlet_defs(self) -> list[Any]:
        """What the task reads."""
        return self.inlets

    def get_outlet_defs(self) -> list[Any]:
        """What the task writes."""
        return self.outlets

    def extra_link_list(self) -> list[BaseOperatorLink]:
        """The operator's links to elsewhere."""
        cls = self.operator_class if isinstance(self.operator_class, type) else type(self)
        links: Any = getattr(self, "operator_extra_links", None) or getattr(cls, "operator_extra_links", None) or ()
        own = [] if isinstance(links, property) else list(links)
        added = plugin_links(cls)
        names = {link.name for link in added}
        return [link for link in own if link.name not in names] + added if added else own

    @property
    def extra_links(self) -> list[str]:
        """Names of the operator's links."""
        return sorted({link.name for link in self.extra_link_list()})

    def __repr__(self) -> str:
        mapped = "Mapped" if self.is_mapped else "Task"
        return f"<{mapped}({self.operator_name}): {self.task_id}>"
