"""Listeners: functions marked with `hookimpl`, found on modules or objects, called by name.

For plugin authors (`from airflow.listeners import hookimpl`) and the processes that call them. A function gets those of
the arguments it names; what it raises is logged and changes nothing. The mark is the one pluggy's `HookimplMarker` leaves,
so listeners written with either work without pluggy being installed.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

log = logging.getLogger("airflow.listeners")


class HookimplMarker:
    """`hookimpl = HookimplMarker("airflow")`: used with and without arguments."""

    def __init__(self, project_name: str) -> None:
        self.project_name = project_name

    def __call__(self, function: Any = None, **options: Any) -> Any:
        def mark(target: Any) -> Any:
            setattr(target, f"{self.project_name}_impl", options)
            return target

        return mark if function is None else mark(function)


class HookspecMarker(HookimplMarker):
    """Marks declarations; they are never called."""

    def __call__(self, function: Any = None, **options: Any) -> Any:
        return (lambda target: target) if function is None else function


hookimpl = HookimplMarker("airflow")
hookspec = HookspecMarker("airflow")

TASK = ("on_task_instance_running", "on_task_instance_success", "on_task_instance_failed", "on_task_instance_skipped")
SERVER = (
    *("on_starting", "before_stopping", "on_dag_run_running", "on_dag_run_success", "on_dag_run_failed"),
    *("on_asset_created", "on_asset_alias_created", "on_asset_changed", "on_asset_event_emitted"),
    *("on_new_dag_import_error", "on_existing_dag_import_error"),
)
"""What happens in the server and is handed to a callback process."""


def implementations(holder: Any, project: str = "airflow") -> dict[str, Callable[..., Any]]:
    """Name → function of everything on a module or object that carries the project's mark."""
    found = {}
    for name in dir(holder):
        if name.startswith("__"):
            continue
        try:
            value = getattr(holder, name)
        except Exception:  # noqa: S112 - a property of the user's that fails is no hook
            continue
        options = getattr(value, f"{project}_impl", None)
        if callable(value) and isinstance(options, dict):
            found[options.get("specname") or name] = value
    return found


class Listeners:
    """All listeners of this process."""

    def __init__(self) -> None:
        self._holders: list[Any] = []
        self._found: dict[str, list[Callable[..., Any]]] = {}
        self._muted = False

    @contextlib.contextmanager
    def muted(self) -> Iterator[None]:
        """Nobody is called inside the block: what happens there is no work of the user's (the rehearsal)."""
        before, self._muted = self._muted, True
        try:
            yield
        finally:
            self._muted = before

    def add(self, holder: Any) -> None:
        """Take a module or an object with marked functions; a class is instantiated."""
        holder = holder() if isinstance(holder, type) else holder
        if any(holder is known for known in self._holders):
            return
        self._holders.append(holder)
        for name, function in implementations(holder).items():
            self._found.setdefault(name, []).append(function)

    def clear(self) -> None:
        """Forget all."""
        self._holders, self._found = [], {}

    @property
    def names(self) -> set[str]:
        """Events somebody listens to."""
        return set(self._found)

    def call(self, name: str, **arguments: Any) -> int:
        """Call everybody who listens to `name`, last registered first (pluggy's order); how many failed."""
        failed = 0
        if self._muted:
            return failed
        for function in reversed(self._found.get(name, ())):
            try:
                function(**_wanted(function, arguments))
            except Exception:
                failed += 1
                log.exception("error calling listener %s", name)
        return failed


def _wanted(function: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}


listeners = Listeners()


class ListenerManager:
    """`get_listener_manager()`: Airflow's way to reach the listeners."""

    class _Hook:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            return lambda **arguments: listeners.call(name, **arguments)

    hook = _Hook()

    @property
    def has_listeners(self) -> bool:
        """Whether there are any."""
        return bool(listeners.names)

    def add_listener(self, listener: Any) -> None:
        """Add one for this process."""
        listeners.add(listener)

    def clear(self) -> None:
        """Forget all of this process."""
        listeners.clear()


_manager = ListenerManager()


def get_listener_manager() -> ListenerManager:
    """The one of this process."""
    return _manager


def as_holders(items: Iterable[Any]) -> list[Any]:
    """Listeners of a plugin: modules, objects, or dotted names of modules."""
    import importlib

    return [importlib.import_module(item) if isinstance(item, str) else item for item in items]
