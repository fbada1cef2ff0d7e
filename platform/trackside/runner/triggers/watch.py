"""Notices code that blocks the loop all triggers share, and names the trigger and the line.

For `child`. A thread asks the loop to answer and looks what runs when it does not: a trigger that calls `time.sleep` or a
blocking client delays every other one.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback

from trackside.runner.triggers.voice import Voice

ASK_EVERY_S = 0.25
BLOCKED_S = 0.5
"""Seconds without an answer that are worth telling."""
AGAIN_S = 30.0
"""Seconds after which a block that lasts is told again."""


class Watch(threading.Thread):
    """One daemon thread beside the loop; made in the loop's own thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, voice: Voice) -> None:
        super().__init__(name="watch", daemon=True)
        self._loop, self._voice = loop, voice
        self._thread = threading.get_ident()
        self._answered = threading.Event()

    def run(self) -> None:
        while True:
            time.sleep(ASK_EVERY_S)
            self._answered.clear()
            asked = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop is closed
                return
            limit = BLOCKED_S
            while not self._answered.wait(max(0.0, asked + limit - time.monotonic())):
                self._tell(time.monotonic() - asked)
                limit = time.monotonic() - asked + AGAIN_S

    def _tell(self, seconds: float) -> None:
        task = asyncio.current_task(self._loop)
        name = task.get_name() if task is not None else ""
        frame = sys._current_frames().get(self._thread)
        stack = traceback.extract_stack(frame) if frame is not None else []
        where = f"{stack[-1].filename}:{stack[-1].lineno} in {stack[-1].name}" if stack else ""
        self._voice.say(**{"is": "blocked", "id": int(name) if name.isdigit() else None, "seconds": round(seconds, 2), "where": where})
