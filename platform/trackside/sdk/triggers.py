"""Triggers: small asyncio waits that stand in for a deferred task.

For operator authors and the triggerer. A trigger is made in the task process, travels as `serialize()` says, and runs in
the triggerer. Next door: `triggers_standard.py` has the ones that come with Trackside.
"""

from __future__ import annotations

import abc
import datetime as dt
from collections.abc import AsyncIterator, Hashable
from dataclasses import dataclass
from typing import Any

from trackside.sdk.log import LoggingMixin


class BaseTrigger(abc.ABC, LoggingMixin):
    """One wait. Subclasses keep their arguments as attributes, say them in `serialize`, and wait in `run`."""

    supports_triggerer_queue = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.task_instance: Any = None
        self.trigger_id: Any = None
        self.queue: str | None = kwargs.get("queue")

    @abc.abstractmethod
    def serialize(self) -> tuple[str, dict[str, Any]]:
        """(dotted path of the class, arguments to make an equal one)."""

    @abc.abstractmethod
    def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the event that ends the wait."""

    async def cleanup(self) -> None:
        """Called when the wait is over or not wanted any more."""

    async def on_kill(self) -> None:
        """Called when the task is cleared or marked while it waits."""

    def __repr__(self) -> str:
        classpath, kwargs = self.serialize()
        return f"<{classpath} {', '.join(f'{key}={value}' for key, value in kwargs.items())}>"


class BaseEventTrigger(BaseTrigger):
    """A trigger that can also watch for asset events (`AssetWatcher`): then it goes on for ever, each event is the asset's.

    Triggers that name the same `shared_stream_key` share one poll: `open_shared_stream` runs once for all of them, and each
    makes its own events of it in `filter_shared_stream`. `asset_state_store` is set before it runs as a watcher.
    """

    supports_triggerer_queue = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asset_state_store: Any = None

    def shared_stream_key(self) -> Hashable | None:
        """What names the source that may be shared; None: it polls for itself in `run`."""
        return None

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        """Poll the source for all that share it, for ever; `kwargs` are those of one of them."""
        raise NotImplementedError(f"{cls.__name__} declares a shared_stream_key but does not implement open_shared_stream")
        yield

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """This trigger's events out of what the shared poll saw."""
        raise NotImplementedError(f"{type(self).__name__} declares a shared_stream_key but does not implement filter_shared_stream")
        yield

    @staticmethod
    def hash(classpath: str, kwargs: dict[str, Any]) -> int:
        """Same for triggers that wait for the same thing."""
        import json

        return hash((classpath, json.dumps(kwargs, sort_keys=True, default=str)))


class TriggerEvent:
    """What a trigger found; `payload` is JSON and becomes the argument `event` of the task's method."""

    def __init__(self, payload: Any = None, **kwargs: Any) -> None:
        self.payload = payload

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.payload == other.payload  # type: ignore[attr-defined]  # same type

    def __hash__(self) -> int:
        return hash((type(self), repr(self.payload)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}<{self.payload!r}>"


class BaseTaskEndEvent(TriggerEvent):
    """Ends the task itself, without a worker. `xcoms`: key → value to publish."""

    task_instance_state: str = ""

    def __init__(self, *, xcoms: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(self.task_instance_state)
        self.xcoms = xcoms


class TaskSuccessEvent(BaseTaskEndEvent):
    """The task succeeded."""

    task_instance_state = "success"


class TaskFailedEvent(BaseTaskEndEvent):
    """The task failed."""

    task_instance_state = "failed"


class TaskSkippedEvent(BaseTaskEndEvent):
    """The task is skipped."""

    task_instance_state = "skipped"


@dataclass
class StartTriggerArgs:
    """How a task that begins in the triggerer begins there."""

    trigger_cls: str
    next_method: str
    trigger_kwargs: dict[str, Any] | None = None
    next_kwargs: dict[str, Any] | None = None
    timeout: dt.timedelta | None = None
    trigger_queue: str | None = None
