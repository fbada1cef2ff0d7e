"""DAG: the container of tasks with its schedule, limits and defaults (rows 1.007-1.042); and the `@dag` decorator.

For DAG files. Next door: `dag_arguments.py` checks the arguments, `validation.py` checks the finished DAG,
`serialization.py` turns it into a DagSpec.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Self

from trackside.sdk import arguments as check
from trackside.sdk import dag_arguments as check_dag
from trackside.sdk.abstract import AbstractOperator, check_id
from trackside.sdk.exceptions import DuplicateTaskIdFound, FailFastDagInvalidTriggerRule, TaskNotFound
from trackside.sdk.param import DagParam, ParamsDict
from trackside.sdk.stack import DagContext
from trackside.sdk.taskgroup import TaskGroup
from trackside.sdk.types import NOTSET, is_arg_set
from trackside.sdk.whereabouts import author_line

if TYPE_CHECKING:
    from trackside.sdk.inprocess import TestedRun
    from trackside.sdk.xcom_arg import XComArg

DEFAULT_MAX_ACTIVE_TASKS = 16
DEFAULT_MAX_ACTIVE_RUNS = 16
_SUFFIX = re.compile(r"__\d+$")


class DAG:
    """A workflow. Arguments after `dag_id` are keywords; unknown ones raise TypeError."""

    def __init__(
        self,
        dag_id: str,
        *,
        description: str | None = None,
        schedule: Any = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        template_searchpath: str | Iterable[str] | None = None,
        template_undefined: Any = None,
        user_defined_macros: dict[str, Any] | None = None,
        user_defined_filters: dict[str, Callable[..., Any]] | None = None,
        default_args: dict[str, Any] | None = None,
        max_active_tasks: int | None = None,
        max_active_runs: int | None = None,
        max_consecutive_failed_dag_runs: int | None = None,
        dagrun_timeout: timedelta | None = None,
        catchup: bool | None = None,
        on_success_callback: Any = None,
        on_failure_callback: Any = None,
        deadline: Any = None,
        doc_md: str | None = None,
        params: Mapping[str, Any] | None = None,
        access_control: dict[str, Any] | None = None,
        is_paused_upon_creation: bool | None = None,
        jinja_environment_kwargs: dict[str, Any] | None = None,
        render_template_as_native_obj: bool = False,
        tags: Collection[str] | None = None,
        owner_links: dict[str, str] | None = None,
        auto_register: bool = True,
        fail_fast: bool = False,
        allowed_run_types: Any = None,
        dag_display_name: str | None = None,
        disable_bundle_versioning: bool | None = None,
        rerun_with_latest_version: bool | None = None,
        sla_miss_callback: Any = None,
        **unknown: Any,
    ) -> None:
        check_dag.no_unknown(dag_id, unknown, sla_miss_callback)
        check_id(dag_id, "dag_id")
        self.dag_id = dag_id
        self._dag_display_name = dag_display_name
        self.description = description
        self._defined_at = author_line()
        self.fileloc = self._defined_at[0]
        self.relative_fileloc = ""
        self.default_args = check_dag.default_args(default_args)
        self.params = ParamsDict(params)
        self.params.update(self.default_args.pop("params", None) or {})
        self.params.mark("dag")

        self.timezone: tzinfo = check_dag.timezone_of(start_date, self.default_args)
        self.start_date = check.moment("start_date", start_date or self.default_args.get("start_date"))
        self.end_date = check.moment("end_date", end_date or self.default_args.get("end_date"))
        self.schedule = schedule
        self.timetable = check_dag.timetable(schedule, self.timezone)
        self.catchup = bool(catchup)
        self.max_active_tasks = check_dag.limit("max_active_tasks", max_active_tasks, DEFAULT_MAX_ACTIVE_TASKS)
        self.max_active_runs = check_dag.active_runs(max_active_runs, DEFAULT_MAX_ACTIVE_RUNS, self.timetable)
        self.max_consecutive_failed_dag_runs = check_dag.limit("max_consecutive_failed_dag_runs", max_consecutive_failed_dag_runs, 0)
        self.dagrun_timeout = check.optional_span("dagrun_timeout", dagrun_timeout)
        check_dag.catchup(dag_id, self.catchup, self.start_date, self.timetable)
        check_dag.reachable(dag_id, self.start_date, self.end_date, self.catchup, self.timetable)

        self.template_searchpath = check_dag.searchpath(template_searchpath)
        self.template_undefined = template_undefined
        self.user_defined_macros = user_defined_macros
        self.user_defined_filters = user_defined_filters
        self._jinja_environment_kwargs = jinja_environment_kwargs
        self.render_template_as_native_obj = render_template_as_native_obj
        self.on_success_callback = on_success_callback
        self.on_failure_callback = on_failure_callback
        self.deadline = check_dag.deadlines(deadline)
        self.doc_md = check_dag.doc_md(doc_md, self.fileloc)
        self.access_control = check_dag.access_control(access_control)
        self.is_paused_upon_creation = is_paused_upon_creation
        self.tags = check_dag.tags(tags)
        self.owner_links = check_dag.owner_links(owner_links)
        self.auto_register = auto_register
        self.fail_fast = fail_fast
        self.allowed_run_types = check_dag.allowed_run_types(dag_id, allowed_run_types, self.timetable)
        self.disable_bundle_versioning = bool(disable_bundle_versioning)
        self.rerun_with_latest_version = rerun_with_latest_version

        self.task_dict: dict[str, AbstractOperator] = {}
        self.task_group_dict: dict[str, TaskGroup] = {}
        self.edge_info: dict[str, dict[str, dict[str, Any]]] = {}
        self.result_task_id: str | None = None
        self._suffixes: dict[str, int] = {}
        self.task_group = TaskGroup.create_root(self)

    # Blocks and names -------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        DagContext.push(self)
        return self

    def __exit__(self, *exc: object) -> None:
        DagContext.pop()

    def __repr__(self) -> str:
        return f"<DAG: {self.dag_id}>"

    @property
    def dag_display_name(self) -> str:
        """Name for people."""
        return self._dag_display_name or self.dag_id

    @property
    def jinja_environment_kwargs(self) -> dict[str, Any] | None:
        """Arguments for the Jinja environment, the class for undefined names among them."""
        extra = {} if self.template_undefined is None else {"undefined": self.template_undefined}
        return {**extra, **(self._jinja_environment_kwargs or {})} or None

    @property
    def timetable_summary(self) -> str | None:
        """The schedule in short."""
        return self.timetable.summary or None

    @property
    def owner(self) -> str:
        """Distinct owners of the tasks."""
        return ", ".join(sorted({task.owner for task in self.tasks}))

    @property
    def folder(self) -> str:
        """Folder of the file."""
        return self.fileloc.rpartition("/")[0]

    # Members ----------------------------------------------------------------------------------------------------

    def id_taken(self, full_id: str) -> bool:
        """Whether a task or group has that id."""
        return full_id in self.task_dict or full_id in self.task_group_dict

    def unique_label(self, label: str, group: TaskGroup | None) -> str:
        """`label`, or `label__1`, `label__2`, …: the next free one in the group (row 1.043)."""
        group = group or self.task_group
        if not self.id_taken(group.child_id(label)):
            return label
        core = _SUFFIX.sub("", label)
        key = group.child_id(core)
        number = self._suffixes.get(key, 0) + 1
        while self.id_taken(f"{key}__{number}"):
            number += 1
        self._suffixes[key] = number
        return f"{core}__{number}"

    def add_task(self, task: Any) -> None:
        """Put a task into this DAG. Raises DuplicateTaskIdFound for an id that is taken by a task or group."""
        self.refuse_duplicate(task)
        if task.task_group is None:
            self.task_group.add(task)
        self._limit_dates(task)
        FailFastDagInvalidTriggerRule.check(fail_fast=self.fail_fast, trigger_rule=task.trigger_rule)
        self.task_dict[task.task_id] = task
        task._dag = self

    def refuse_duplicate(self, task: Any) -> None:
        """Raise DuplicateTaskIdFound if another task or a group has the task's id."""
        existing: Any = self.task_dict.get(task.task_id) or self.task_group_dict.get(task.task_id)
        if existing is None or existing is task:
            return
        file, line = existing._defined_at
        where = f" (line {line} of {file.rpartition('/')[2]})" if line else ""
        what = "is the id of a task group already" if isinstance(existing, TaskGroup) else "has already been added"
        raise DuplicateTaskIdFound(f"Task id '{task.task_id}' {what}, in DAG {self.dag_id!r}{where}; ids must be unique")

    def _limit_dates(self, task: Any) -> None:
        """A task starts no earlier and ends no later than its DAG."""
        base = task._base if task.is_mapped else task
        if self.start_date and (base.start_date is None or base.start_date < self.start_date):
            base.start_date = self.start_date
        if self.end_date and (base.end_date is None or base.end_date > self.end_date):
            base.end_date = self.end_date

    def add_tasks(self, tasks: Iterable[Any]) -> None:
        """Put several tasks into this DAG."""
        for task in tasks:
            self.add_task(task)

    @property
    def tasks(self) -> list[AbstractOperator]:
        """All tasks in declared order."""
        return list(self.task_dict.values())

    @property
    def task_ids(self) -> list[str]:
        """Ids of all tasks."""
        return list(self.task_dict)

    def has_task(self, task_id: str) -> bool:
        """Whether there is a task of that id."""
        return task_id in self.task_dict

    def has_task_group(self, task_group_id: str) -> bool:
        """Whether there is a group of that id."""
        return task_group_id in self.task_group_dict

    def get_task(self, task_id: str, include_subdags: bool = False) -> AbstractOperator:
        """The task of that id. Raises TaskNotFound."""
        try:
            return self.task_dict[task_id]
        except KeyError:
            raise TaskNotFound(f"Task {task_id} not found") from None

    def __getitem__(self, node_id: str) -> AbstractOperator | TaskGroup:
        """The task or group of that full id. Raises TaskNotFound."""
        if node_id in self.task_group_dict:
            return self.task_group_dict[node_id]
        return self.get_task(node_id)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self.task_dict or node_id in self.task_group_dict

    @property
    def roots(self) -> list[AbstractOperator]:
        """Tasks without upstream."""
        return [task for task in self.tasks if not task.upstream_task_ids]

    @property
    def leaves(self) -> list[AbstractOperator]:
        """Tasks without downstream."""
        return [task for task in self.tasks if not task.downstream_task_ids]

    @property
    def teardowns(self) -> list[AbstractOperator]:
        """All teardowns."""
        return [task for task in self.tasks if task.is_teardown]

    @property
    def tasks_upstream_of_teardowns(self) -> list[AbstractOperator]:
        """What teardowns follow directly, but for other teardowns."""
        return [task for teardown in self.teardowns for task in teardown.upstream_list if not task.is_teardown]

    @property
    def task(self) -> Any:
        """`@dag.task` is `@task` for this DAG."""
        from trackside.sdk.decorators import task

        return functools.partial(task, dag=self)

    def set_dependency(self, upstream_task_id: str, downstream_task_id: str) -> None:
        """Let one task follow another, by their ids. Raises TaskNotFound."""
        self.get_task(upstream_task_id).set_downstream(self.get_task(downstream_task_id))

    def topological_sort(self) -> tuple[AbstractOperator, ...]:
        """All tasks, each after what it waits for; groups stay together where possible."""
        from trackside.sdk.ordering import ordered_task_ids

        return tuple(self.task_dict[task_id] for task_id in ordered_task_ids(self))

    def get_edge_info(self, upstream_task_id: str, downstream_task_id: str) -> dict[str, Any]:
        """What is known about one edge: {"label": …} or nothing."""
        return self.edge_info.get(upstream_task_id, {}).get(downstream_task_id, {})

    def set_edge_info(self, upstream_task_id: str, downstream_task_id: str, info: dict[str, Any]) -> None:
        """Remember something about one edge."""
        self.edge_info.setdefault(upstream_task_id, {})[downstream_task_id] = info

    # Values -----------------------------------------------------------------------------------------------------

    def param(self, name: str, default: Any = NOTSET) -> DagParam:
        """The run's value of a param, as an argument for tasks."""
        return DagParam(current_dag=self, name=name, default=default)

    def add_result(self, value: Any) -> Any:
        """Make a task's return value the result of the whole run. Raises ValueError for anything else."""
        from trackside.sdk.xcom_arg import XCOM_RETURN_KEY, PlainXComArg

        operator = value.operator if isinstance(value, PlainXComArg) and value.key == XCOM_RETURN_KEY else value
        if not isinstance(operator, AbstractOperator):
            raise ValueError(f"Only the return value of a task can be the result of a Dag, not {value!r}")
        if self.result_task_id not in (None, operator.task_id):
            raise ValueError(f"Dag {self.dag_id!r} has a result already: that of task {self.result_task_id!r}")
        self.result_task_id = operator.task_id
        return value

    def get_template_env(self, *, force_sandboxed: bool = False) -> Any:
        """The Jinja environment of this DAG's templates."""
        from trackside.sdk.templating import environment_for

        return environment_for(None, self)

    def resolve_template_files(self) -> None:
        """Read the template files of all tasks."""
        for task in self.tasks:
            if hasattr(task, "resolve_template_files"):
                task.resolve_template_files()

    def partial_subset(
        self,
        task_ids: str | Iterable[str],
        include_downstream: bool = False,
        include_upstream: bool = True,
        include_direct_upstream: bool = False,
        depth: int | None = None,
    ) -> DAG:
        """A copy with only some tasks: see `subset.partial_subset` (row 1.040)."""
        from trackside.sdk.subset import partial_subset

        return partial_subset(self, task_ids, include_downstream, include_upstream, include_direct_upstream, depth)

    def validate(self) -> None:
        """Raise for what is wrong with the finished DAG; see `validation.validate`."""
        from trackside.sdk.validation import validate

        validate(self)

    check_cycle = validate

    def validate_setup_teardown(self) -> None:
        """Raise ValueError if a task that follows a setup has another trigger rule than all_success (row 1.107)."""
        from trackside.sdk.validation import check_setups

        check_setups(self)

    def test(
        self,
        run_after: datetime | None = None,
        logical_date: Any = NOTSET,
        run_conf: dict[str, Any] | None = None,
        conn_file_path: str | None = None,
        variable_file_path: str | None = None,
        use_executor: bool = False,
        mark_success_pattern: str | re.Pattern[str] | None = None,
        **more: Any,
    ) -> TestedRun:
        """One manual run in this process, without scheduler or server (row 1.041): `if __name__ == "__main__": dag.test()`.

        `logical_date` is now by default and may be None; tasks whose id matches `mark_success_pattern` wholly succeed
        without running; connections and variables come from the files (.json, .yaml, .env) and the environment.
        `use_executor` is ignored. Further: `answers` (task id → options) for tasks that ask people, `wait_for_retries`
        (False: retry at once), `others` (DAGs that may be triggered). Returns the run: `run.state`, `run.states`,
        `run.get_task_instance("t").xcom_pull()`. Raises what is wrong with the DAG or with `run_conf`.
        """
        from trackside.sdk.inprocess import run_dag

        return run_dag(
            self, run_after, logical_date, run_conf, conn_file_path, variable_file_path, use_executor, mark_success_pattern, **more
        )

    def cli(self) -> None:
        """Refused: the `trackside` command takes the place of Airflow's per-DAG command line."""
        raise NotImplementedError("DAG.cli() is not available in Trackside; use the trackside command")

    def __deepcopy__(self, memo: dict[int, Any]) -> DAG:
        new = DAG.__new__(type(self))
        memo[id(self)] = new
        shared = {"user_defined_macros", "user_defined_filters", "_jinja_environment_kwargs", "timetable", "schedule", "timezone"}
        shared |= {"on_success_callback", "on_failure_callback", "default_args", "template_undefined", "deadline"}
        for name, value in self.__dict__.items():
            new.__dict__[name] = value if name in shared else copy.deepcopy(value, memo)
        return new

    def __iter__(self) -> Iterator[AbstractOperator]:
        return iter(self.tasks)


def dag(dag_id_or_func: Any = None, __DAG_class: type[DAG] = DAG, **decorator_kwargs: Any) -> Any:
    """Make a DAG from a function: its arguments become params, its docstring `doc_md`, its result the run's result.

    `@dag` or `@dag(schedule=…)`; calling the decorated function makes the DAG.
    """

    def wrapper(function: Callable[..., Any]) -> Callable[..., DAG]:
        given = decorator_kwargs.pop("dag_id", None) or (dag_id_or_func if isinstance(dag_id_or_func, str) else None)
        dag_id = given or function.__name__

        @functools.wraps(function)
        def factory(*args: Any, **kwargs: Any) -> DAG:
            bound = inspect.signature(function).bind(*args, **kwargs)
            required = [n for n, p in inspect.signature(function).parameters.items() if p.default is p.empty]
            bound.apply_defaults()
            dag_obj = __DAG_class(dag_id, **decorator_kwargs)
            dag_obj._defined_at = (function.__code__.co_filename, function.__code__.co_firstlineno)
            with dag_obj:
                if dag_obj.doc_md is None and function.__doc__:
                    dag_obj.doc_md = check_dag.doc_md(function.__doc__, dag_obj.fileloc)
                values = {
                    name: _as_param(dag_obj, name, value, name in required) for name, value in bound.arguments.items()
                }
                dag_obj.params.mark("dag")
                dag_obj.fileloc = author_line()[0] or dag_obj.fileloc
                result = function(**values)
                if _is_result(result):
                    dag_obj.add_result(result)
            return dag_obj

        return factory

    return wrapper(dag_id_or_func) if callable(dag_id_or_func) else wrapper


def _as_param(dag_obj: DAG, name: str, value: Any, required: bool) -> DagParam:
    return dag_obj.param(name, value if is_arg_set(value) else NOTSET)


def _is_result(value: XComArg | Any) -> bool:
    from trackside.sdk.xcom_arg import XCOM_RETURN_KEY, PlainXComArg

    return isinstance(value, PlainXComArg) and value.key == XCOM_RETURN_KEY


def result(value: Any) -> Any:
    """`@result` / `result(task())`: marks a task's return value as the run's result (row 1.038)."""
    from trackside.sdk.decorators import result as mark

    return mark(value)


__all__: Sequence[str] = ("DAG", "dag", "result")
