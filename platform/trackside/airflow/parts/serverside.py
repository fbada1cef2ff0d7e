"""Names that belong to Airflow's own processes: they can be imported, so that modules that mention them load, and refuse to be used.

Provider packages bring executors, log handlers, sign-in and commands for Airflow's server next to what DAG files use. In
Airflow 3 task code may import, but not use them either: it has no way to the database.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, NoReturn, TypeVar

from trackside.sdk.exceptions import AirflowException

NO_DATABASE = "task code cannot reach the database; read through the task's context, BaseHook, Variable, XCom or the REST API"
OWN_EXECUTORS = "Trackside has executors of its own; name one in [core] executor or in a task's `executor`"
OWN_LOGS = "Trackside keeps the logs of tasks itself; read them on the task's page or by REST"
OWN_SIGN_IN = "Trackside signs people in itself"
T = TypeVar("T")


class NotInTrackside(AirflowException):
    """Code used a part of Airflow's server that Trackside has no place for; the message says what to do instead."""


class _Refusing(type):
    """Classes whose attributes and instances are refused; subclassing and annotating is fine."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") or name in ("_abc_impl",):
            raise AttributeError(name)
        return functools.partial(_refuse, f"{cls.__name__}.{name}", cls.why)


class ServerPart(metaclass=_Refusing):
    """Parent of the classes below."""

    why = "it belongs to Airflow's server"

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse(type(self).__name__, self.why)


def _refuse(name: str, why: str, *_: Any, **__: Any) -> NoReturn:
    raise NotInTrackside(f"{name} cannot be used in Trackside: {why}.")


def _part(name: str, why: str) -> Any:
    return _Refusing(name, (ServerPart,), {"why": why, "__module__": __name__, "__doc__": f"Not in Trackside: {why}."})


# --- the database ---------------------------------------------------------------------------------------------------
DagModel = _part("DagModel", NO_DATABASE)
DagBag = _part("DagBag", "load one file with `trackside dags check FILE`, or use `dag.test()`")
SerializedDagModel = _part("SerializedDagModel", NO_DATABASE)
RenderedTaskInstanceFields = _part("RenderedTaskInstanceFields", NO_DATABASE)
SimpleTaskInstance = _part("SimpleTaskInstance", NO_DATABASE)
Job = _part("Job", NO_DATABASE)
NEW_SESSION: Any = None
"""Default of an argument `session`."""


@contextlib.contextmanager
def create_session(*_: Any, **__: Any) -> Iterator[Any]:
    """Refused."""
    _refuse("airflow.utils.session.create_session", NO_DATABASE)
    yield None


def provide_session(func: Callable[..., T]) -> Callable[..., T]:
    """Decorates what needs a session: works only if the caller passes one."""
    position = list(inspect.signature(func).parameters).index("session") if "session" in inspect.signature(func).parameters else -1

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> T:
        if kwargs.get("session") is None and not (0 <= position < len(args)):
            _refuse(f"{func.__qualname__} without a session", NO_DATABASE)
        return func(*args, **kwargs)

    return wrapper


def _refusing(name: str, why: str = NO_DATABASE) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        _refuse(name, why)

    refuse.__name__ = name
    return refuse


Session = _refusing("Session")
trigger_dag = _refusing("trigger_dag", "use TriggerDagRunOperator or the REST API")
clear_task_instances = _refusing("clear_task_instances", "use the REST API (POST /dags/{dag_id}/clearTaskInstances)")
create_scheduler_operator = _refusing("create_scheduler_operator")
coerce_to_core_timetable = _refusing("coerce_to_core_timetable", "timetables are stored by the DAG processor")
expand_alias_to_assets = _refusing("expand_alias_to_assets")
get_bagged_dag = get_dag = _refusing("get_dag", "load files with `trackside dags check`")
get_coordinator_manager = _refusing("get_coordinator_manager", "Trackside runs Python tasks only")


def action_cli(func: Any = None, check_db: bool = True) -> Any:
    """Marks a command of Airflow's command line; it is called like any function."""
    return func if func is not None else lambda one: one


def pod_mutation_hook(pod: Any) -> None:
    """Lets the site's policies change a pod that a task makes, e.g. by KubernetesPodOperator."""
    from trackside.sdk.plugins import policies

    for hook in policies.pod_mutation_hooks():
        hook(pod)


# --- executors, logs, DAG bundles -----------------------------------------------------------------------------------
BaseExecutor = _part("BaseExecutor", OWN_EXECUTORS)
LocalExecutor = _part("LocalExecutor", OWN_EXECUTORS)
ExecutorLoader = _part("ExecutorLoader", OWN_EXECUTORS)
ExecutorConf = _part("ExecutorConf", OWN_EXECUTORS)
ExecuteTask = _part("ExecuteTask", OWN_EXECUTORS)
ExecuteCallback = _part("ExecuteCallback", OWN_EXECUTORS)
WorkloadType = _part("WorkloadType", OWN_EXECUTORS)
PARALLELISM = 32
TaskInstanceUuid = str
WorkloadKey = Any
ctx_indiv_trigger: ContextVar[Any] = ContextVar("ctx_indiv_trigger")


class FileTaskHandler(logging.Handler):
    """Parent of log handlers that write to object storage."""

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse(type(self).__name__, OWN_LOGS)


# --- sign-in --------------------------------------------------------------------------------------------------------
AUTH_MANAGER_FASTAPI_APP_PREFIX = "/auth"
COOKIE_NAME_JWT_TOKEN = "_token"  # noqa: S105 - the name of a cookie
get_auth_manager = _refusing("get_auth_manager", OWN_SIGN_IN)
get_cookie_path = _refusing("get_cookie_path", OWN_SIGN_IN)
AirflowRouter = _part("AirflowRouter", OWN_SIGN_IN)


class BaseUser:
    """Somebody signed in to Airflow."""


class BaseAuthManager(Generic[T]):
    """Parent of Airflow's ways to sign in."""

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse(type(self).__name__, OWN_SIGN_IN)


@dataclass
class AssetDetails:
    """Which asset a right is about."""

    id: str | None = None


@dataclass
class AssetAliasDetails:
    """Which alias a right is about."""

    id: str | None = None


class AccessView(Enum):
    """Pages a right is about."""

    CLUSTER_ACTIVITY = "CLUSTER_ACTIVITY"
    DOCS = "DOCS"
    IMPORT_ERRORS = "IMPORT_ERRORS"
    JOBS = "JOBS"
    PLUGINS = "PLUGINS"
    PROVIDERS = "PROVIDERS"
    TRIGGERS = "TRIGGERS"
    WEBSITE = "WEBSITE"


def __getattr__(name: str) -> Any:
    if name == "BaseModel":
        from pydantic import BaseModel

        return BaseModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
