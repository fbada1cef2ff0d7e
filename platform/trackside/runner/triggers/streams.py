"""One poll for several watchers that share their source (`BaseEventTrigger.shared_stream_key`).

For `child`. The first watcher of a key opens the stream, the last one that leaves closes it; everybody hears everything that
came while they listened. A poll that fails or ends fails all of its watchers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Hashable
from typing import Any

MAX_WAITING = 1000
"""Events kept for a watcher that does not keep up; then it fails, and starts again."""


class StreamEnded(RuntimeError):
    """The shared poll is over; streams go on for ever or raise."""


class _Group:
    """A running poll and who listens."""

    def __init__(self, trigger: Any) -> None:
        self.listeners: dict[int, asyncio.Queue[tuple[Any, BaseException | None]]] = {}
        self._open = lambda: type(trigger).open_shared_stream(trigger.serialize()[1])
        self.task = asyncio.get_running_loop().create_task(self._poll(), name="shared stream")

    async def _poll(self) -> None:
        error: BaseException = StreamEnded("the shared stream ended; it must go on for ever, or raise")
        try:
            async for seen in self._open():
                for waiting in list(self.listeners.values()):
                    if waiting.qsize() < MAX_WAITING:
                        waiting.put_nowait((seen, None))
                    else:
                        waiting.put_nowait((None, OverflowError(f"the watcher is too slow: {MAX_WAITING} events wait")))
        except Exception as e:
            error = e
        for waiting in self.listeners.values():
            waiting.put_nowait((None, error))


class SharedStreams:
    """All shared polls of this process."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, _Group] = {}

    async def events_of(self, number: int, trigger: Any) -> AsyncGenerator[Any]:
        """The events of a watcher: of its own poll, or out of the one that it shares."""
        key = trigger.shared_stream_key() if hasattr(trigger, "shared_stream_key") else None
        if key is None:
            async for event in trigger.run():
                yield event
            return
        group = self._groups.get(key)
        if group is None or group.task.done():
            group = self._groups[key] = _Group(trigger)
        waiting = group.listeners[number] = asyncio.Queue()
        try:
            async for event in trigger.filter_shared_stream(_heard(waiting)):
                yield event
        finally:
            group.listeners.pop(number, None)
            if not group.listeners:
                group.task.cancel()
                if self._groups.get(key) is group:
                    del self._groups[key]


async def _heard(waiting: asyncio.Queue[tuple[Any, BaseException | None]]) -> AsyncIterator[Any]:
    while True:
        seen, error = await waiting.get()
        if error is not None:
            raise error
        yield seen
