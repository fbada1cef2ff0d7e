"""Where connections and variables are looked up: secrets back ends and the environment, before the server is asked.

For `connection` and `variable`, in processes that run user code (tasks, parses, triggers, callbacks) and nowhere else. The
order is Airflow's for workers (row 1.255): the back end of `[workers] secrets_backend` or else of `[secrets] backend`, the
environment, then, if both are set, that of `[secrets]`, and last the server with its database. Back ends are classes of
`airflow.secrets`, of provider packages or of the site; their parent is in `trackside.airflow.parts.secrets`.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from trackside.sdk import options
from trackside.sdk.exceptions import AirflowConfigException, AirflowSecretsBackendAccessDenied
from trackside.sdk.log import is_sensitive, mask_secret

CONNECTION_PREFIXES = ("AIRFLOW_CONN_", "TRACKSIDE_CONN_")
VARIABLE_PREFIXES = ("AIRFLOW_VAR_", "TRACKSIDE_VAR_")
CONNECTION_FIELDS = ("conn_id", "conn_type", "description", "host", "schema", "login", "password", "port", "extra")
_PLACES = {
    "workers": ("AIRFLOW__WORKERS__SECRETS_BACKEND", "[workers] secrets_backend"),
    "secrets": ("AIRFLOW__SECRETS__BACKEND", "[secrets] backend"),
}
OPTIONS = tuple(name for name, _ in _PLACES.values())
"""Variables of the environment that name a back end."""

log = logging.getLogger("airflow.secrets")
_made: dict[tuple[Any, ...], Any] = {}
_busy = threading.local()
_was_asked = False


class Keeps(Protocol):
    """Remembers what back ends said, beyond this process (`trackside.runner.parsing.kept`)."""

    def get(self, name: str) -> tuple[bool, Any]:
        """Whether there is something, and what."""

    def put(self, name: str, value: Any) -> None:
        """Remember a JSON value."""


keeping: Callable[[], Keeps | None] | None = None
"""Set in processes that parse DAG files: makes what keeps answers, None if the options want none kept."""


@dataclass(frozen=True, slots=True)
class Configured:
    """One back end as the environment names it."""

    option: str
    """As people know it, for messages."""
    classpath: str
    kwargs: dict[str, Any] = field(default_factory=dict)


def configured() -> tuple[Configured | None, Configured | None]:
    """The back end that comes before the environment, and the one that comes after it."""
    workers, secrets = _read("workers"), _read("secrets")
    return (workers, secrets) if workers is not None else (secrets, None)


def from_environment(prefixes: tuple[str, ...], name: str) -> str | None:
    """Text of the first variable of the environment that has it."""
    for prefix in prefixes:
        if (found := os.environ.get(prefix + name.upper())) is not None:
            return found
    return None


def connection(conn_id: str) -> Any:
    """A Connection from the back ends or the environment; None if the server has to be asked.

    Raises AirflowConfigException for a back end that cannot be made and AirflowSecretsBackendAccessDenied, which ends the
    search (row 1.256). Any other failure of a back end is logged and the search goes on.
    """
    from trackside.sdk.connection import Connection

    before, after = configured()
    if (found := _kept_connection(before, conn_id)) is not None:
        return found
    if text := from_environment(CONNECTION_PREFIXES, conn_id):
        return Connection.from_json(text, conn_id) if text.strip().startswith("{") else Connection.from_uri(text, conn_id)
    return _kept_connection(after, conn_id)


def variable(key: str) -> str | None:
    """Text of a variable from the back ends or the environment; None if the server has to be asked. Raises as `connection`."""
    before, after = configured()
    found = _kept_variable(before, key)
    if found is None:
        found = from_environment(VARIABLE_PREFIXES, key)
    if found is None:
        found = _kept_variable(after, key)
    return found if found is None or isinstance(found, str) else json.dumps(found)


def config(name: str) -> str | None:
    """The value of an option that is kept in a back end (`AIRFLOW__…_SECRET`); None if none has it. Raises as `connection`."""
    before, after = configured()
    found = _ask(before, "get_config", key=name)
    return _ask(after, "get_config", key=name) if found is None else found


def was_asked() -> bool:
    """Whether this process has asked a back end (it then holds what is not to be forked: clients, sockets, old answers)."""
    return _was_asked


def _kept_connection(backend: Configured | None, conn_id: str) -> Any:
    """`_ask`, or what it said to an earlier parse of this file. That there is none is asked anew each time (as in Airflow)."""
    if backend is None:
        return None
    keeper = _keeper()
    if keeper is None:
        return _ask(backend, "get_connection", conn_id=conn_id)
    from trackside.sdk.connection import Connection

    name = f"{backend.option} connection {conn_id}"
    there, fields = keeper.get(name)
    if there:
        return Connection(**fields)
    found = _ask(backend, "get_connection", conn_id=conn_id)
    if found is not None:
        keeper.put(name, {field: getattr(found, field) for field in CONNECTION_FIELDS})
    return found


def _kept_variable(backend: Configured | None, key: str) -> Any:
    """Likewise; that there is none is kept, too."""
    if backend is None:
        return None
    keeper = _keeper()
    if keeper is None:
        return _ask(backend, "get_variable", key=key)
    name = f"{backend.option} variable {key}"
    there, value = keeper.get(name)
    if there:
        return value
    found, failed = _asked(backend, "get_variable", key=key)
    if not failed:
        keeper.put(name, found)
    return found


def _keeper() -> Keeps | None:
    return keeping() if keeping is not None and not getattr(_busy, "now", False) else None


def _read(section: str) -> Configured | None:
    name, option = _PLACES[section]
    classpath = os.environ.get(name, "").strip()
    if not classpath:
        return None
    text = (options.text(section, "secrets_backend_kwargs" if section == "workers" else "backend_kwargs") or "").strip()
    try:
        kwargs = json.loads(text) if text else {}
    except ValueError:
        kwargs = None
    if not isinstance(kwargs, dict):
        raise AirflowConfigException(f"{name}_KWARGS is no JSON object: write something like {{\"path\": \"/srv/secrets\"}}.")
    prefix = f"{name}_KWARG__"
    kwargs |= {key[len(prefix) :].lower(): value for key, value in os.environ.items() if key.startswith(prefix) and key != prefix}
    return Configured(option, classpath, kwargs)


def _ask(backend: Configured | None, method: str, **name: str) -> Any:
    return _asked(backend, method, **name)[0]


def _asked(backend: Configured | None, method: str, **name: str) -> tuple[Any, bool]:
    """What the back end has, and whether it failed instead of saying so."""
    global _was_asked
    if backend is None or getattr(_busy, "now", False):  # a back end that looks up its own login starts after itself
        return None, False
    _was_asked = True
    with _while_busy():
        lookup = getattr(_instance(backend), method)
        try:
            return lookup(**name, **({"team_name": None} if _takes_team(lookup) else {})), False
        except AirflowSecretsBackendAccessDenied:
            raise
        except NotImplementedError:  # it keeps only the other kind
            return None, False
        except Exception as error:
            kind = method.removeprefix("get_")
            log.warning(
                "%s (%s) failed to look up the %s %s: %s: %s. The next place is asked.",
                *(backend.option, backend.classpath, kind, *name.values(), type(error).__name__, error),
            )
            return None, True


@contextlib.contextmanager
def _while_busy() -> Iterator[None]:
    _busy.now = True
    try:
        yield
    finally:
        _busy.now = False


def _instance(backend: Configured) -> Any:
    """The back end's object, one per process and configuration: it holds a client that has logged in."""
    key = (os.getpid(), backend.classpath, json.dumps(backend.kwargs, sort_keys=True, default=str))
    if key not in _made:
        for name, value in backend.kwargs.items():
            if isinstance(value, str) and is_sensitive(name):
                mask_secret(value)
        _made[key] = _make(backend)
    return _made[key]


def _make(backend: Configured) -> Any:
    from trackside.sdk.connection import Connection

    module, _, name = backend.classpath.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), name)(**backend.kwargs)
    except Exception as error:
        raise AirflowConfigException(
            f"{backend.option} names {backend.classpath}, which cannot be used: {type(error).__name__}: {error}. Install its package where "
            "tasks run, or correct the class and its kwargs."
        ) from error
    if hasattr(made, "_set_connection_class"):
        made._set_connection_class(Connection)
    return made


def _takes_team(method: Any) -> bool:
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "team_name" or p.kind is p.VAR_KEYWORD for p in parameters)
