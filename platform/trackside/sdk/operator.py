"""BaseOperator: one task of a DAG, with every argument a task can have (rows 1.043-1.075 of Airflow's rules).

For DAG authors and operator authors, who override `execute`. Next door: `operator_meta.py` brings default arguments in,
`abstract.py` has what mapped tasks share, `arguments.py` checks the values, `mapping.py` does `partial().expand()`.
"""

from __future__ import annotations

import copy
import datetime as dt
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from trackside.sdk import arguments as check
from trackside.sdk.abstract import (
    DEFAULT_OWNER,
    DEFAULT_POOL_NAME,
    DEFAULT_POOL_SLOTS,
    DEFAULT_PRIORITY_WEIGHT,
    DEFAULT_QUEUE,
    DEFAULT_RETRIES,
    DEFAULT_RETRY_DELAY_S,
    DEFAULT_TRIGGER_RULE,
    DEFAULT_WEIGHT_RULE,
    AbstractOperator,
    check_id,
)
from trackside.sdk.enums import trigger_rule as known_trigger_rule
from trackside.sdk.enums import weight_rule as known_weight_rule
from trackside.sdk.exceptions import TaskDeferred
from trackside.sdk.operator_meta import Building, OperatorMeta
from trackside.sdk.templating import Templater
from trackside.sdk.xcom_arg import XCOM_RETURN_KEY, XComArg

if TYPE_CHECKING:
    from trackside.sdk.dag import DAG
    from trackside.sdk.links import BaseOperatorLink
    from trackside.sdk.mapping import OperatorPartial
    from trackside.sdk.taskgroup import TaskGroup

CALLBACKS = (
    "on_execute_callback",
    "on_failure_callback",
    "on_success_callback",
    "on_retry_callback",
    "on_skipped_callback",
)
"""Task callbacks; each is kept as a list."""


class BaseOperator(Templater, AbstractOperator, metaclass=OperatorMeta):
    """One task. Arguments are keywords only; unknown ones raise TypeError. Times: see each argument's name."""

    template_fields: Collection[str] = ()
    template_ext: Sequence[str] = ()
    template_fields_renderers: ClassVar[dict[str, str]] = {}
    ui_color: str = "#fff"
    ui_fgcolor: str = "#000"
    operator_extra_links: Collection[BaseOperatorLink] = ()
    shallow_copy_attrs: Sequence[str] = ()
    pool: str = ""
    subdag: ClassVar[None] = None
    inherits_from_empty_operator: bool = False
    """True: `execute` does nothing, so that the scheduler may complete the task by itself."""
    overwrite_rtif_after_execution: bool = False
    """True: template fields are recorded again after `execute`, which changes them."""
    start_from_trigger: bool = False
    start_trigger_args: Any = None
    is_async: ClassVar[bool] = False
    _skips: ClassVar[str | None] = None
    """"branch" or "short_circuit": the task decides which tasks after it are skipped."""

    _ready = False
    """Set when all constructors are through; from then on a new template value draws its edges at once."""

    def __init__(
        self,
        *,
        task_id: str,
        owner: str = DEFAULT_OWNER,
        email: str | Sequence[str] | None = None,
        email_on_retry: bool = True,
        email_on_failure: bool = True,
        retries: int | None = DEFAULT_RETRIES,
        retry_delay: dt.timedelta | float = DEFAULT_RETRY_DELAY_S,
        retry_exponential_backoff: float = 0.0,
        max_retry_delay: dt.timedelta | float | None = None,
        retry_policy: Any = None,
        start_date: dt.datetime | None = None,
        end_date: dt.datetime | None = None,
        depends_on_past: bool = False,
        ignore_first_depends_on_past: bool = False,
        wait_for_past_depends_before_skipping: bool = False,
        wait_for_downstream: bool = False,
        dag: DAG | None = None,
        params: Mapping[str, Any] | None = None,
        default_args: dict[str, Any] | None = None,
        priority_weight: int = DEFAULT_PRIORITY_WEIGHT,
        weight_rule: Any = DEFAULT_WEIGHT_RULE,
        queue: str = DEFAULT_QUEUE,
        pool: str | None = None,
        pool_slots: int = DEFAULT_POOL_SLOTS,
        execution_timeout: dt.timedelta | None = None,
        on_execute_callback: Any = None,
        on_failure_callback: Any = None,
        on_success_callback: Any = None,
        on_retry_callback: Any = None,
        on_skipped_callback: Any = None,
        pre_execute: Callable[[Any], None] | None = None,
        post_execute: Callable[[Any, Any], None] | None = None,
        trigger_rule: str = DEFAULT_TRIGGER_RULE,
        resources: dict[str, Any] | None = None,
        run_as_user: str | None = None,
        map_index_template: str | None = None,
        max_active_tis_per_dag: int | None = None,
        max_active_tis_per_dagrun: int | None = None,
        executor: str | None = None,
        executor_config: dict[str, Any] | None = None,
        do_xcom_push: bool = True,
        multiple_outputs: bool = False,
        inlets: Any = None,
        outlets: Any = None,
        task_group: TaskGroup | None = None,
        doc: str | None = None,
        doc_md: str | None = None,
        doc_json: str | None = None,
        doc_yaml: str | None = None,
        doc_rst: str | None = None,
        task_display_name: str | None = None,
        logger_name: str | None = None,
        allow_nested_operators: bool = True,
        render_template_as_native_obj: bool | None = None,
        start_from_trigger: bool | None = None,
        start_trigger_args: Any = None,
        **kwargs: Any,
    ) -> None:
        check.no_unknown(type(self).__name__, task_id, kwargs)
        check_id(task_id)
        building: Building = self.__dict__.get("_building") or Building()
        group = building.task_group or task_group
        self._dag = None
        self.task_group = None
        self.task_id = group.child_id(task_id) if group is not None else task_id
        self.upstream_task_ids = set()
        self.downstream_task_ids = set()
        self.is_setup = False
        self.is_teardown = False
        self.on_failure_fail_dagrun = False

        self.owner = check.text("owner", owner)
        self.email, self.email_on_retry, self.email_on_failure = email, email_on_retry, email_on_failure
        self.retries = check.retries(retries)
        self.retry_delay = check.span("retry_delay", retry_delay)
        self.retry_exponential_backoff = check.backoff(retry_exponential_backoff)
        self.max_retry_delay = check.optional_span("max_retry_delay", max_retry_delay)
        self.retry_policy = retry_policy
        self.start_date = check.moment("start_date", start_date)
        self.end_date = check.moment("end_date", end_date)
        self.depends_on_past = bool(depends_on_past or wait_for_downstream)
        self.ignore_first_depends_on_past = ignore_first_depends_on_past
        self.wait_for_past_depends_before_skipping = wait_for_past_depends_before_skipping
        self.wait_for_downstream = wait_for_downstream
        self.params = check.params(params)
        self.priority_weight = check.whole_number("priority_weight", priority_weight)
        self.weight_rule = known_weight_rule(weight_rule)
        if not isinstance(weight_rule, str):
            self._weight_strategy = weight_rule
        self.queue = queue
        self.pool = pool or DEFAULT_POOL_NAME
        self.pool_slots = check.pool_slots(task_id, pool_slots)
        self.execution_timeout = check.timeout(execution_timeout)
        given = (on_execute_callback, on_failure_callback, on_success_callback, on_retry_callback, on_skipped_callback)
        for name, callback in zip(CALLBACKS, given, strict=True):
            setattr(self, name, check.callbacks(name, callback))
        self._pre_execute_hook, self._post_execute_hook = pre_execute, post_execute
        self.trigger_rule = known_trigger_rule(trigger_rule)
        self.resources = check.resources(resources)
        self.run_as_user = run_as_user
        self.map_index_template = map_index_template
        self.max_active_tis_per_dag = max_active_tis_per_dag
        self.max_active_tis_per_dagrun = max_active_tis_per_dagrun
        self.executor = executor
        self.executor_config = executor_config or {}
        self.do_xcom_push, self.multiple_outputs = do_xcom_push, multiple_outputs
        self.inlets, self.outlets = check.as_list(inlets), check.as_list(outlets)
        self.doc, self.doc_md, self.doc_rst = doc, doc_md, doc_rst
        self.doc_json, self.doc_yaml = doc_json, doc_yaml
        self._task_display_name = task_display_name
        self._logger_name = logger_name
        self.allow_nested_operators = allow_nested_operators
        self.render_template_as_native_obj = render_template_as_native_obj
        if start_from_trigger is not None:
            self.start_from_trigger = start_from_trigger
        if start_trigger_args is not None:
            self.start_trigger_args = start_trigger_args
        self._join(building.dag or dag, group)

    def _join(self, dag: DAG | None, group: TaskGroup | None) -> None:
        if group is not None:
            group.add(self)
        if dag is not None:
            dag.add_task(self)

    def _finish_init(self, building: Building) -> None:
        """Called by the metaclass when the constructors of all classes are through."""
        if isinstance(self.template_fields, str):
            raise TypeError(
                f"{type(self).__name__}.template_fields is the text {self.template_fields!r}; "
                f"write a tuple with a comma: ({self.template_fields!r},)"
            )
        if not building.from_mapped:
            for name in self.template_fields:
                XComArg.apply_upstream_relationship(self, getattr(self, name, None))
        self._ready = True

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if self._ready and name in self.template_fields and self._dag is not None:
            XComArg.apply_upstream_relationship(self, value)

    def _do_render_template_fields(self, parent: Any, *args: Any, **kwargs: Any) -> None:
        """Rendering happens in the task process, where new values draw no edges."""
        if parent is self:
            self.__dict__["_ready"] = False
        super()._do_render_template_fields(parent, *args, **kwargs)

    # For authors of operators -----------------------------------------------------------------------------------

    def execute(self, context: Any) -> Any:
        """The work. Override; what it returns becomes the XCom `return_value`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement execute()")

    def pre_execute(self, context: Any) -> None:
        """Called right before `execute`; an exception prevents it."""

    def post_execute(self, context: Any, result: Any = None) -> None:
        """Called right after `execute`; an exception fails the task."""

    def on_kill(self) -> None:
        """Called when the task is stopped from outside or runs out of time: end what it started elsewhere."""

    def dry_run(self) -> None:
        """Log the template fields."""
        for name in self.template_fields:
            self.log.info("Rendering template for %s:\n%s", name, getattr(self, name))

    def defer(
        self,
        *,
        trigger: Any,
        method_name: str,
        kwargs: dict[str, Any] | None = None,
        timeout: dt.timedelta | int | float | None = None,
        queue: str | None = None,
    ) -> NoReturn:
        """End here and go on in `method_name(context, event=…, **kwargs)` when `trigger` fires (TaskDeferred)."""
        raise TaskDeferred(trigger=trigger, method_name=method_name, kwargs=kwargs, timeout=timeout, queue=queue)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Go on after a deferral. Raises TaskDeferralTimeout or TaskDeferralError when the trigger did not fire well."""
        from trackside.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout

        kwargs = dict(next_kwargs or {})
        if next_method == "__fail__":
            if kwargs.get("error") in ("Trigger timeout", "timeout"):
                raise TaskDeferralTimeout(kwargs.get("error"))
            raise TaskDeferralError(kwargs.get("error", "Trigger failure"))
        method = getattr(self, next_method, None)
        if method is None:
            raise AttributeError(f"{type(self).__name__} has no method {next_method!r} to go on with after its deferral")
        return method(context, **kwargs)

    @property
    def log(self) -> logging.Logger:
        """Logger whose lines go to the task's log."""
        name = self._logger_name or f"{type(self).__module__}.{type(self).__qualname__}"
        return logging.getLogger(f"airflow.task.operators.{name}")

    @property
    def task_display_name(self) -> str:
        """Name for people."""
        return self._task_display_name or self.task_id

    @property
    def operator_class(self) -> type:  # type: ignore[override]  # a mapped task knows it only as a value
        return type(self)

    def get_extra_links(self, ti: Any, name: str) -> str | None:
        """Address of one of the operator's links for a task instance."""
        found = {link.name: link for link in self.extra_link_list()}.get(name)
        return found.get_link(self, ti_key=getattr(ti, "key", ti)) if found else None

    @staticmethod
    def xcom_push(context: Any, key: str, value: Any) -> None:
        """Push an XCom of the running task."""
        context["ti"].xcom_push(key=key, value=value)

    @staticmethod
    def xcom_pull(
        context: Any, task_ids: Any = None, dag_id: str | None = None, key: str = XCOM_RETURN_KEY, **kwargs: Any
    ) -> Any:
        """Pull XComs from within a running task."""
        return context["ti"].xcom_pull(task_ids=task_ids, dag_id=dag_id, key=key, **kwargs)

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Arguments that all instances of a mapped task share; follow with `.expand()` or `.expand_kwargs()`."""
        from trackside.sdk.mapping import operator_partial

        return operator_partial(cls, kwargs)

    def unmap(self, resolve: Any) -> BaseOperator:
        """Itself: only mapped tasks have something to unmap."""
        return self

    def prepare_for_execution(self) -> BaseOperator:
        """A copy that rendering may change."""
        other = copy.copy(self)
        other.__dict__["_ready"] = False
        return other

    # Sugar ------------------------------------------------------------------------------------------------------

    def __gt__(self, other: Any) -> BaseOperator:
        """`op > asset`: an outlet."""
        if not isinstance(other, Iterable):
            other = [other]
        self.add_outlets(other)
        return self

    def __lt__(self, other: Any) -> BaseOperator:
        """`op < asset`: an inlet."""
        if not isinstance(other, Iterable):
            other = [other]
        self.add_inlets(other)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> BaseOperator:
        cls = type(self)
        result = cls.__new__(cls)
        memo[id(self)] = result
        shallow = {"_dag", "_log", *cls.shallow_copy_attrs}
        for name, value in self.__dict__.items():
            result.__dict__[name] = copy.copy(value) if name in shallow and name != "_dag" else (
                memo.get(id(value), value) if name == "_dag" else copy.deepcopy(value, memo)
            )
        return result


BaseOperatorArgs = frozenset(BaseOperator.__dict__["__init__"]._operator_parameters)
"""Names of the arguments every operator takes."""


class BaseAsyncOperator(BaseOperator):
    """An operator whose work is a coroutine: override `aexecute`. It runs in the worker, not in the triggerer."""

    is_async: ClassVar[bool] = True

    async def aexecute(self, context: Any) -> Any:
        """The work."""
        raise NotImplementedError(f"{type(self).__name__} does not implement aexecute()")

    def execute(self, context: Any) -> Any:
        """Run `aexecute` to its end, within `execution_timeout`."""
        import asyncio

        async def work() -> Any:
            async with asyncio.timeout(self.execution_timeout.total_seconds() if self.execution_timeout else None):
                return await self.aexecute(context)

        return asyncio.run(work())
