"""`run_task`: one try from its StartOrder to its FinishReport, inside the task process.

For the runner, which loads the DAG file and brings `comms`, and for `dag.test()`. Steps in Airflow's order: context,
templates, `on_execute`, `pre_execute`, `execute`, `post_execute`, results, report, callbacks.
"""

from __future__ import annotations

import inspect
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from trackside.core.messages import FinishReport, StartOrder
from trackside.sdk import serde
from trackside.sdk.enums import TaskInstanceState
from trackside.sdk.exceptions import AirflowInactiveAssetInInletOrOutletException, AirflowTaskTerminated, AirflowTaskTimeout
from trackside.sdk.execution import current, outcomes
from trackside.sdk.execution.callbacks import run_callbacks
from trackside.sdk.execution.comms import Comms
from trackside.sdk.execution.context import Context, build_context, context_to_airflow_vars, merged_params
from trackside.sdk.execution.events import InletEvents, outlet_report
from trackside.sdk.execution.limits import execution_timeout, kill, on_sigterm
from trackside.sdk.execution.logs import error_line
from trackside.sdk.execution.records import moment
from trackside.sdk.execution.rendering import rendered_fields
from trackside.sdk.execution.results import push_result
from trackside.sdk.execution.ti import RuntimeTaskInstance
from trackside.sdk.plugins.hooks import listeners
from trackside.sdk.templating import LateEnvironment, Templater, environment_for, is_reference, render_text

log = logging.getLogger("airflow.task")
Report = Callable[[FinishReport], None]


class TaskRunnerMarker:
    """What listeners of `on_starting` and `before_stopping` get in a task's process."""


def run_task(order: StartOrder, task: Any, dag: Any, comms: Comms, *, report_to: Report | None = None) -> FinishReport:
    """Run the try to its end and say how it went; never raises.

    `report_to` gets the report as soon as the outcome is known, before success/failure/retry/skipped callbacks run
    (Airflow reports first too). Without it the callbacks have run when the report is returned.
    """
    started = time.monotonic()
    report = FinishReport(try_id=order.try_id, token=order.token, pid=os.getpid(), own_callbacks=True)
    with current.use_comms(comms):
        listeners.call("on_starting", component=TaskRunnerMarker())
        prepare = getattr(task, "prepare_for_execution", None)
        ti = RuntimeTaskInstance(order, prepare() if prepare else task, dag, comms)
        context, error = _attempt(report, ti, started)
        try:
            _finish(report, ti, context, started)
        except Exception as late:
            log.exception("The end of the task could not be recorded")
            report.outcome, report.error, error = "failed", error_line(late), late
        if report_to is not None:
            report_to(report)
        _after(report, ti, context, error)
        listeners.call("before_stopping", component=TaskRunnerMarker())
    return report


def _attempt(
    report: FinishReport, ti: RuntimeTaskInstance, started: float
) -> tuple[Context | None, BaseException | None]:
    context: Context | None = None
    try:
        with on_sigterm(_CurrentTask(ti)):
            context = ti.context = build_context(ti)
            with current.set_current_context(context):
                if ti.order.inactive_assets:
                    raise AirflowInactiveAssetInInletOrOutletException(ti.order.inactive_assets)
                render_fields(ti, context)
                result = _execute(ti, context, started)
                push_result(ti, result)
    except BaseException as error:
        if isinstance(error, AirflowTaskTimeout):
            kill(ti.task)
        try:
            outcomes.apply(report, error, ti, context)
        except BaseException as second:  # e.g. a trigger that cannot be serialized
            log.exception("Task failed with exception")
            report.outcome, report.error = "failed", error_line(second)
            return context, second
        return context, error
    report.outcome = "success"
    return context, None


class _CurrentTask:
    """`on_kill` of whatever task the instance has now: a mapped task is replaced when it is expanded."""

    def __init__(self, ti: RuntimeTaskInstance) -> None:
        self._ti = ti

    def on_kill(self) -> None:
        """See `limits.kill`."""
        self._ti.task.on_kill()


# Steps --------------------------------------------------------------------------------------------------------------


def render_fields(ti: RuntimeTaskInstance, context: Context) -> None:
    """Render the template fields of the task (a mapped one becomes the operator of its index), and show them at once."""
    seen = _unmap(ti, context) if getattr(ti.task, "is_mapped", False) else set()
    task = ti.task
    if not getattr(task, "_template_files_resolved", False):
        task.resolve_template_files()
    late = getattr(type(task), "get_template_env", None) is Templater.get_template_env
    env = LateEnvironment(task, task.get_dag()) if late else task.get_template_env()
    if type(task).render_template_fields is Templater.render_template_fields:
        task._do_render_template_fields(task, task.template_fields, context, env, seen)
    else:
        task.render_template_fields(context, env)
    ti.rendered_map_index = _map_index_label(ti, context)
    fields = rendered_fields(task)
    if fields or ti.rendered_map_index is not None:
        ti.comms.update(rendered_fields=fields, rendered_map_index=ti.rendered_map_index)


def _unmap(ti: RuntimeTaskInstance, context: Context) -> set[int]:
    """Replace a mapped task by the operator of this index. Returns the ids of values that came from other tasks.

    Those are data, not templates: they must not be rendered.
    """
    mapped = ti.task
    arguments = mapped.expand_input.resolve(context)
    task = ti.task = context["task"] = mapped.unmap(arguments)
    context["params"] = merged_params(ti.dag, task, ti.dag_run.conf)
    context.update(inlets=task.inlets, outlets=task.outlets, inlet_events=InletEvents(task.inlets, ti.comms))
    source = mapped.expand_input.value
    if is_reference(source):
        return {id(value) for value in arguments.values()}
    if isinstance(source, Mapping):
        return {id(arguments[key]) for key, value in source.items() if is_reference(value) and key in arguments}
    return set()


def _map_index_label(ti: RuntimeTaskInstance, context: Context) -> str | None:
    """The map index's name for people; a name that needs what `execute` will add stays open."""
    template = context.get("map_index_template")
    if not template or not ti.is_mapped:
        return None
    from jinja2.exceptions import UndefinedError

    try:
        return str(render_text(template, context, environment_for(None, ti.dag)))[:250]
    except UndefinedError:
        return None
    except Exception:
        log.warning("The map_index_template %r could not be rendered", template, exc_info=True)
        return None


def _execute(ti: RuntimeTaskInstance, context: Context, started: float) -> Any:
    task = ti.task
    os.environ.update(context_to_airflow_vars(context, in_env_var_format=True))
    listeners.call("on_task_instance_running", previous_state=TaskInstanceState.QUEUED, task_instance=ti)
    run_callbacks(task, "on_execute_callback", context)
    hook = getattr(task, "_pre_execute_hook", None)
    if hook is not None:
        hook(context)
    task.pre_execute(context=context)
    result = _call_execute(ti, context, started)
    hook = getattr(task, "_post_execute_hook", None)
    if hook is not None:
        hook(context, result)
    task.post_execute(context=context, result=result)
    return result


def _call_execute(ti: RuntimeTaskInstance, context: Context, started: float) -> Any:
    """`execute`, or the method a deferral named. A coroutine runs in an event loop of its own."""
    task, order = ti.task, ti.order
    limit = task.execution_timeout
    with execution_timeout(limit, started):
        if order.next_method:
            kwargs = serde.deserialize(order.next_kwargs or {})
            resume = getattr(task, "resume_execution", None)
            if resume is not None:
                result = resume(order.next_method, kwargs, context)
            else:
                result = getattr(task, order.next_method)(context, **kwargs)
        else:
            result = task.execute(context)
        if inspect.iscoroutine(result):
            import asyncio  # most tasks do without

            result = asyncio.run(result)
    return result


# The end ------------------------------------------------------------------------------------------------------------


def _finish(report: FinishReport, ti: RuntimeTaskInstance, context: Context | None, started: float) -> None:
    """Complete the report: XComs, decisions, events, labels."""
    if report.outcome in ("success", "deferred", "awaiting_input", "rescheduled"):
        report.xcoms = ti.final_xcoms
    else:  # what was pushed under its own name stays visible after a failure, as with an XCom pushed at once
        report.xcoms = [record for record in ti.final_xcoms if record["key"] != "return_value"]
    if report.outcome == "success":
        report.skip = ti.skip_decision
        if context is not None:
            report.asset_events = outlet_report(context["outlets"], context["outlet_events"])
    if context is not None and ti.is_mapped:
        label = context.get("map_index_template") and _map_index_label(ti, context)
        report.rendered_map_index = ti.rendered_map_index = label or ti.rendered_map_index
    _links(ti)
    if getattr(ti.task, "overwrite_rtif_after_execution", False):
        report.rendered_fields = rendered_fields(ti.task)
    ti.end_date = _now()
    report.duration_s = time.monotonic() - started


def _links(ti: RuntimeTaskInstance) -> None:
    """Addresses of the operator's extra links, as XComs under `_link_<class>`."""
    listed = getattr(ti.task, "extra_link_list", None)
    for link in listed() if listed is not None else getattr(ti.task, "operator_extra_links", None) or ():
        try:
            if address := link.get_link(ti.task, ti_key=ti.key):
                ti.xcom_push_at_end(getattr(link, "xcom_key", f"_link_{type(link).__name__}"), address)
        except Exception:
            log.exception("Failed to compute the link %s", type(link).__name__)


def _after(report: FinishReport, ti: RuntimeTaskInstance, context: Context | None, error: BaseException | None) -> None:
    """Run the callbacks that belong to the outcome, and compute the operator's links."""
    failed = report.outcome in ("failed", "failed_no_retry")
    retry = report.outcome == "failed" and ti.is_eligible_to_retry
    ti.state = "up_for_retry" if retry else "failed" if failed else report.outcome
    if context is None:
        context = Context(ti=ti, task_instance=ti, task=ti.task, dag=ti.dag, dag_run=ti.dag_run, run_id=ti.run_id)
    if failed:
        context["exception"] = error
    kind = {"success": "on_success_callback", "skipped": "on_skipped_callback"}.get(report.outcome)
    if failed:
        kind = "on_retry_callback" if retry else "on_failure_callback"
    if kind is None or isinstance(error, AirflowTaskTerminated):
        return
    with current.set_current_context(context):
        run_callbacks(ti.task, kind, context)
        _tell_listeners(report, ti, error)


def _tell_listeners(report: FinishReport, ti: RuntimeTaskInstance, error: BaseException | None) -> None:
    """Listeners of plugins hear how the task ended; a failure with a retry to come is a failure to them (Airflow's rule)."""
    event = {"success": "on_task_instance_success", "skipped": "on_task_instance_skipped"}.get(report.outcome, "on_task_instance_failed")
    arguments = {"error": error} if event == "on_task_instance_failed" else {}
    listeners.call(event, previous_state=TaskInstanceState.RUNNING, task_instance=ti, **arguments)


def _now() -> Any:
    return moment(datetime.now(UTC))
