"""Triggers of a test: one event loop in a thread, so that other tasks go on while one is deferred.

For `ledger`. A trigger is made anew from what it serialised, as the triggerer does; one that cannot be shows that here.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import queue
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from trackside.sdk import serde
from trackside.sdk.execution.logs import error_line
from trackside.sdk.triggers import BaseTaskEndEvent, BaseTrigger

CLEANUP_S = 2.0
"""How long triggers may take to clean up when the run is over."""


@dataclass(slots=True)
class Fired:
    """A trigger is done: `event` (serialised) or `error`; `ends` is the state if it ends its task itself."""

    pk: int
    event: Any = None
    error: str | None = None
    ends: str | None = None
    xcoms: dict[str, Any] | None = None


class Waits:
    """The triggers of one run."""

    def __init__(self) -> None:
        self._done: queue.SimpleQueue[Fired] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread()
        self._running: dict[int, Any] = {}

    def start(self, pk: int, deferral: dict[str, Any], ti: SimpleNamespace) -> None:
        """Let the trigger of a deferral wait for task instance `pk`."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_serve, args=(self._loop,), name="triggers", daemon=True)
            self._thread.start()
        self._running[pk] = self._submit(self._wait(pk, deferral, ti))

    def cancel(self, pk: int) -> None:
        """Nobody waits for this one any more."""
        if (task := self._running.pop(pk, None)) is not None:
            task.cancel()

    def next(self, seconds: float | None) -> Fired | None:
        """The next trigger that is done, waiting so long for it; None if none was. A cancelled one is never returned."""
        try:
            fired = self._done.get(timeout=seconds) if seconds is None or seconds > 0 else self._done.get_nowait()
        except queue.Empty:
            return None
        return fired if self._running.pop(fired.pk, None) is not None else None

    def __bool__(self) -> bool:
        return bool(self._running)

    def close(self) -> None:
        """End the loop."""
        for pk in list(self._running):
            self.cancel(pk)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLEANUP_S)

    def _submit(self, work: Coroutine[Any, Any, None]) -> Any:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _wait(self, pk: int, deferral: dict[str, Any], ti: SimpleNamespace) -> None:
        trigger: BaseTrigger | None = None
        try:
            trigger = _make(deferral)
            trigger.trigger_id, trigger.task_instance = pk, ti
            self._done.put(await _first(trigger, pk))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._done.put(Fired(pk, error=f"Trigger failure: {error_line(error)}"))
        finally:
            if trigger is not None:
                with contextlib.suppress(Exception):
                    await trigger.cleanup()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """The thread's life: until stopped, then a moment for triggers to clean up."""
    asyncio.set_event_loop(loop)
    loop.run_forever()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=CLEANUP_S))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _make(deferral: dict[str, Any]) -> BaseTrigger:
    module, _, name = deferral["classpath"].rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ImportError(f"There is no trigger {deferral['classpath']}: {error}. Put it into a module that can be imported") from error
    made: BaseTrigger = cls(**serde.deserialize(deferral["kwargs"]))
    return made


async def _first(trigger: BaseTrigger, pk: int) -> Fired:
    async with contextlib.aclosing(trigger.run()) as events:  # type: ignore[type-var]  # an async generator, as authors write it
        async for event in events:
            if isinstance(event, BaseTaskEndEvent):
                return Fired(pk, ends=event.task_instance_state, xcoms=event.xcoms or {})
            return Fired(pk, event=serde.serialize(event.payload))
    raise RuntimeError("the trigger ended without an event")
