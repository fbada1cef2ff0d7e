"""One function per kind of job. They return a JSON value, raise Undoable, or let user code's exceptions through.

Kinds: `task_callback`, `dag_callback`, `function` (a deadline's callback), `listener`, `plugins` (describe them),
`next_run`, `manual_interval`, `run_id`, `slots` (own timetables), `deadline` (own references), `map_key` (own partition mappers).
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from trackside.runner.errands import output, parts
from trackside.runner.errands.parts import Undoable
from trackside.sdk import serde
from trackside.sdk.execution import current
from trackside.sdk.execution.callbacks import run_callbacks
from trackside.sdk.plugins import hooks
from trackside.sdk.plugins import loading as plugins
from trackside.sdk.triggers_callback import CallbackTrigger

if TYPE_CHECKING:
    from trackside.runner.parsing.settings import ParseSettings

MOST_SLOTS = 10_001


def run(job: dict[str, Any], settings: ParseSettings) -> dict[str, Any]:
    """See the package."""
    output.set_up()
    comms = current.comms()
    if comms is not None:
        comms.mask = output.masker.add  # type: ignore[method-assign]  # what it reads is hidden in what it prints
    if settings.dags_folder not in sys.path:
        sys.path.insert(0, settings.dags_folder)
    try:
        plugins.load()
        value = KINDS[job["kind"]](job)
        return {"ok": True, "value": value, "error": None}
    except Undoable as undoable:
        return {"ok": False, "value": None, "error": str(undoable)}
    except BaseException as error:  # also SystemExit of user code
        traceback.print_exc()
        where = [f for f in traceback.extract_tb(error.__traceback__) if "/trackside/" not in f.filename]
        at = f" ({where[-1].filename}, line {where[-1].lineno})" if where else ""
        return {"ok": False, "value": None, "error": output.masker.hide(f"{type(error).__name__}: {error}{at}")}
    finally:
        sys.stdout.flush()


def _comms() -> Any:
    return current.comms()


# --- callbacks ----------------------------------------------------------------------------------------------------------
def _task_callback(job: dict[str, Any]) -> Any:
    """Callbacks of a try that ended without running them itself."""
    from trackside.sdk.exceptions import AirflowException

    dag = parts.dag_of(job)
    ti = parts.task_instance(job["order"], dag, _comms(), job.get("state"))
    if ti is None:
        raise Undoable(f"Task {job['order']['task_id']!r} is no longer in DAG {job['dag_id']!r}")
    context = parts.context_of(job, dag, _comms())
    if job.get("error"):
        context["exception"] = AirflowException(job["error"])
    if ti.is_mapped and getattr(ti.task, "is_mapped", False):
        context["ti"].task = _unmapped(ti.task)
        context["task"] = context["ti"].task
    with current.set_current_context(context):
        failed = run_callbacks(context["task"], job["callback"], context)
    if job.get("listener"):
        arguments = {"error": context.get("exception")} if job["listener"] == "on_task_instance_failed" else {}
        hooks.listeners.call(job["listener"], previous_state="running", task_instance=context["ti"], **arguments)
    return _counted(failed)


def _unmapped(task: Any) -> Any:
    """A mapped task's callbacks are those of its partial arguments."""
    return task._base


def _dag_callback(job: dict[str, Any]) -> Any:
    dag = parts.dag_of(job)
    context = parts.context_of(job, dag, _comms())
    context["reason"] = job["reason"]
    with current.set_current_context(context):
        return _counted(run_callbacks(dag, job["callback"], context))


def _counted(failed: int) -> int:
    if failed:
        raise Undoable("The callback failed; its output says why." if failed == 1 else f"{failed} callbacks failed; their output says why.")
    return 0


def _function(job: dict[str, Any]) -> Any:
    """A SyncCallback: a function or a notifier, with its arguments and a `context` if it takes one. With `awaits` an AsyncCallback."""
    function = parts.function_of(job["path"], job)
    if job.get("awaits"):
        asyncio.run(CallbackTrigger(job["path"], job.get("kwargs"), job.get("context")).call(function))
        return None
    kwargs = serde.deserialize(job.get("kwargs") or {})
    call_with_context(function, kwargs, job.get("context") or {})
    return None


def call_with_context(function: Any, kwargs: dict[str, Any], context: dict[str, Any]) -> Any:
    """Call what a SyncCallback or AsyncCallback names; its result. A class of notifiers is made, then called."""
    from trackside.sdk.notifier import BaseNotifier

    if inspect.isclass(function) and issubclass(function, BaseNotifier):
        return function(**kwargs)(context)
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if "context" in parameters or takes_any:
        kwargs = {**kwargs, "context": context}
    return function(**kwargs)


# --- listeners and plugins ----------------------------------------------------------------------------------------------
def _listener(job: dict[str, Any]) -> Any:
    arguments: dict[str, Any] = dict(job.get("plain") or {})
    if "dag_run" in job:
        arguments["dag_run"] = parts.listened_run(job["dag_run"])
    for name in ("asset", "asset_alias", "asset_event"):
        if name in job:
            arguments[name] = parts.listened_asset(job[name])
    if "component" in job:
        arguments["component"] = SimpleNamespace(**job["component"])
    if failed := hooks.listeners.call(job["event"], **arguments):
        raise Undoable(f"{failed} listener(s) of {job['event']} failed; the output says why.")
    return len(hooks.listeners.names)


def _plugins(job: dict[str, Any]) -> Any:
    from trackside.sdk.plugins import policies

    said = plugins.describe()
    try:
        said["policies"] = sorted(name for name, found in policies.load().items() if found)
    except BaseException:
        said["policies"] = []
        said["errors"][policies.MODULE] = traceback.format_exc()
    return said


# --- timetables and deadlines -------------------------------------------------------------------------------------------
def _interval(interval: Any) -> list[str] | None:
    return None if interval is None else [interval.start.isoformat(), interval.end.isoformat()]


def _manual_interval(job: dict[str, Any]) -> Any:
    from trackside.runner.parsing import custom
    from trackside.sdk.execution.records import moment

    timetable = custom.asked(parts.dag_of(job).timetable)
    return _interval(timetable.infer_manual_data_interval(run_after=moment(job["run_after"])))


def _run_id(job: dict[str, Any]) -> Any:
    """The id of a run started by hand, from an own timetable that gives its runs names."""
    from trackside.runner.parsing import custom
    from trackside.sdk.execution.records import moment
    from trackside.sdk.timetables import DataInterval

    given = job.get("interval")
    interval = DataInterval(*(moment(text) for text in given)) if given else None  # type: ignore[arg-type]  # moments of texts
    return custom.run_id(custom.asked(parts.dag_of(job).timetable), job["run_type"], moment(job["run_after"]), interval)


def _slots(job: dict[str, Any]) -> Any:
    """Everything an own timetable plans between two dates, for a backfill."""
    from trackside.runner.parsing import custom

    dag = parts.dag_of(job)
    spec = {"start_date": job["from"], "end_date": job["to"], "catchup": True}
    now = datetime.now(UTC)
    last: list[str] | None = None
    found: list[dict[str, Any]] = []
    while len(found) < MOST_SLOTS:
        planned = custom.next_run(dag, spec, last, now)
        if planned is None or not planned["start"] or not planned["end"] or (last and planned["end"] <= last[1]):
            break
        if datetime.fromisoformat(planned["end"]) >= now:
            break
        found.append(planned)
        last = [planned["start"], planned["end"]]
    return found


def _next_run(job: dict[str, Any]) -> Any:
    from trackside.runner.parsing import custom

    return custom.next_run(parts.dag_of(job), job["spec"], job.get("last"), datetime.now(UTC))


def _deadline(job: dict[str, Any]) -> Any:
    """The moment an own reference gives for a run: `_evaluate_with(dag_run=…)` or `evaluate(dag_run)`."""
    from trackside.sdk.execution.records import to_wire

    dag = parts.dag_of(job)
    reference = dag.deadline[job["index"]].reference
    run = parts.listened_run(job["run"])
    evaluate = getattr(reference, "_evaluate_with", None)
    if callable(evaluate):
        wanted = {"dag_id": run.dag_id, "run_id": run.run_id, "dag_run": run, "session": None, "interval": None}
        required = getattr(reference, "required_kwargs", None)
        names = set(required) if required else set(inspect.signature(evaluate).parameters)
        takes_any = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(evaluate).parameters.values())
        keep = names | ({"session"} if "session" in inspect.signature(evaluate).parameters else set())
        found = evaluate(**{k: v for k, v in wanted.items() if k in keep or (takes_any and required is None)})
    elif callable(evaluate := getattr(reference, "evaluate", None)):
        found = evaluate(run)
    else:
        raise Undoable(f"{type(reference).__name__} has no method _evaluate_with(*, session, dag_run …) that gives a moment.")
    return None if found is None else to_wire(found)


def _map_key(job: dict[str, Any]) -> Any:
    from trackside.runner.errands.mapping import mapped

    return mapped(job, parts.dag_of(job))


KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "task_callback": _task_callback,
    "dag_callback": _dag_callback,
    "function": _function,
    "listener": _listener,
    "plugins": _plugins,
    "next_run": _next_run,
    "manual_interval": _manual_interval,
    "run_id": _run_id,
    "slots": _slots,
    "deadline": _deadline,
    "map_key": _map_key,
}
