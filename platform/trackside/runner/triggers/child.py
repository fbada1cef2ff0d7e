"""The process in which triggers wait: one asyncio loop, one task per trigger.

Started by `client` as `python -P -m trackside.runner.triggers.child DAGS_FOLDER PARENT`. The end of stdin ends it. A trigger
says one thing and is done, a watcher goes on; one that is killed with this process is started again by whoever claims it next.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import os
import sys
import threading
from types import SimpleNamespace
from typing import Any, BinaryIO

from trackside.core.masking import Masker
from trackside.runner import jsonio, procs
from trackside.runner.triggers import logs
from trackside.runner.triggers.streams import SharedStreams
from trackside.runner.triggers.voice import Voice
from trackside.runner.triggers.watch import Watch
from trackside.sdk import serde
from trackside.sdk.assets import Asset
from trackside.sdk.execution import current, hiding
from trackside.sdk.execution.logs import error_line
from trackside.sdk.execution.state_stores import AssetStateStoreAccessors
from trackside.sdk.plugins import loading as plugins
from trackside.sdk.triggers import BaseTaskEndEvent, BaseTrigger, TriggerEvent

ON_KILL_S = 30.0
CLEANUP_S = 2.0
ANSWER_S = 30.0
RESTART_S = 0.2
"""A watcher that ends at once begins anew no more often than every so many seconds."""


class Server:
    """`Comms` for triggers: reading connections and variables."""

    def __init__(self, voice: Voice, masker: Masker) -> None:
        self._voice, self._masker = voice, masker
        self._waiting: dict[int, tuple[threading.Event, list[Any]]] = {}
        self._last = 0
        self._lock = threading.Lock()

    def request(self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None) -> tuple[int, Any]:
        """See `Comms.request`."""
        with self._lock:
            self._last += 1
            number = self._last
        arrived, answer = self._waiting[number] = threading.Event(), []
        self._voice.say(**{"is": "ask", "ask": number, "method": method, "path": path, "params": params, "body": body})
        arrived.wait(ANSWER_S)
        self._waiting.pop(number, None)
        return answer[0] if answer else (503, {"detail": "the triggerer did not answer"})

    def answer(self, message: dict[str, Any]) -> None:
        """An answer has come."""
        if waiting := self._waiting.get(message["ask"]):
            waiting[1].append((message["status"], message["body"]))
            waiting[0].set()

    def update(self, **fields: Any) -> None:
        """See `Comms.update`: there is no running try to tell about."""

    def mask(self, secret: str) -> None:
        """See `Comms.mask`."""
        self._masker.add(secret)


class Triggers:
    """The tasks of the loop."""

    def __init__(self, voice: Voice, server: Server) -> None:
        self.voice, self.server = voice, server
        self.loop = asyncio.get_running_loop()
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self._killed: set[int] = set()
        self._classes: dict[str, type[BaseTrigger]] = {}
        self.ended = asyncio.Event()
        self.streams = SharedStreams()

    def read(self, stdin: BinaryIO) -> None:
        """Runs in a thread until the triggerer closes the pipe."""
        for line in stdin:
            message = jsonio.loads(line)
            if message["do"] == "answer":
                self.server.answer(message)
            else:
                self.loop.call_soon_threadsafe(self._obey, message)
        self.loop.call_soon_threadsafe(self.ended.set)

    def _obey(self, message: dict[str, Any]) -> None:
        number = message["id"]
        if message["do"] == "start" and (number not in self.tasks or "watch" in message):
            task = self.loop.create_task(self._run(message, after=self.tasks.get(number)), name=str(number))
            self.tasks[number] = task
            task.add_done_callback(lambda done: self.tasks.pop(number, None) if self.tasks.get(number) is done else None)
        elif message["do"] == "cancel" and number in self.tasks:
            if message.get("kill"):
                self._killed.add(number)
            self.tasks[number].cancel()

    async def _run(self, message: dict[str, Any], after: asyncio.Task[None] | None = None) -> None:
        number = message["id"]
        if after is not None:  # the same watcher is just being cancelled: one at a time
            await asyncio.wait([after])
        logs.CURRENT.set(number)
        trigger: BaseTrigger | None = None
        try:
            trigger = self._make(await self._class(message), message)
            if "watch" in message:
                await self._watch(number, trigger, message)
            else:
                self._say_event(number, await _first_event(trigger))
        except asyncio.CancelledError:
            if number in self._killed and trigger is not None:
                await _limited("on_kill", trigger.on_kill(), ON_KILL_S)
        except BaseException as error:  # also SystemExit: nothing a trigger does ends this process
            logs.logger.error("Trigger failed", exc_info=error)
            self.voice.say(**{"is": "error", "id": number, "error": f"Trigger failure: {error_line(error)}"})
        finally:
            self._killed.discard(number)
            if trigger is not None:
                await _limited("cleanup", trigger.cleanup(), CLEANUP_S)

    async def _watch(self, number: int, trigger: BaseTrigger, message: dict[str, Any]) -> None:
        """A watcher never ends: one that has said all it had to say begins anew."""
        assets = [Asset(name=name, uri=uri) for name, uri in message["watch"]]
        while True:
            trigger.asset_state_store = AssetStateStoreAccessors(self.server, assets)  # type: ignore[attr-defined]  # event triggers have it
            began = self.loop.time()
            async with contextlib.aclosing(self.streams.events_of(number, trigger)) as events:
                async for event in events:
                    self._say_event(number, event)
            await asyncio.sleep(max(0.0, began + RESTART_S - self.loop.time()))
            await _limited("cleanup", trigger.cleanup(), CLEANUP_S)
            trigger = self._make(await self._class(message), message)

    async def _class(self, message: dict[str, Any]) -> type[BaseTrigger]:
        classpath = message["classpath"]
        if classpath not in self._classes:
            # imports take their time: not in the loop
            self._classes[classpath] = await asyncio.to_thread(find_class, classpath, message.get("dag_file"))
        return self._classes[classpath]

    @staticmethod
    def _make(cls: type[BaseTrigger], message: dict[str, Any]) -> BaseTrigger:
        trigger = cls(**serde.deserialize(message["kwargs"]))
        trigger.trigger_id = message["id"]
        trigger.task_instance = SimpleNamespace(**message["ti"])
        return trigger

    def _say_event(self, number: int, event: TriggerEvent) -> None:
        if isinstance(event, BaseTaskEndEvent):
            xcoms = {key: serde.serialize(value) for key, value in (event.xcoms or {}).items()}
            shown = {key: masked for key, value in xcoms.items() if (masked := hiding.shown(value)) is not None}
            self.voice.say(**{
                "is": "event", "id": number, "kind": event.task_instance_state, "payload": None, "xcoms": xcoms, "shown": shown,
            })  # fmt: skip
        else:
            self.voice.say(**{"is": "event", "id": number, "kind": "event", "payload": serde.serialize(event.payload), "xcoms": None})

    async def end(self) -> None:
        """The triggerer stops: waits go on elsewhere, so triggers clean up but are not killed."""
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLEANUP_S)


async def _first_event(trigger: BaseTrigger) -> TriggerEvent:
    events = trigger.run()
    try:
        async for event in events:
            return event
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            with contextlib.suppress(Exception):
                await close()
    raise RuntimeError("the trigger ended without an event")


async def _limited(what: str, wait: Any, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wait
    except Exception as error:
        logs.logger.warning("%s of the trigger failed: %s: %s", what, type(error).__name__, error)


_LOADING = threading.Lock()
"""Held while a DAG file is loaded into this process."""


def find_class(classpath: str, dag_file: str | None) -> type[BaseTrigger]:
    """The class a deferral named. Raises ImportError or TypeError when there is no such trigger."""
    module, _, name = classpath.rpartition(".")
    if dag_file and (module.startswith("unusual_prefix_") or not _can_import(module)):
        from trackside.sdk.jsonable import plain_module
        from trackside.sdk.parsing import load_file

        # many deferrals of one file come at once, each in a thread: nobody may see a module that another is still filling
        with _LOADING:
            if module not in sys.modules:
                load_file(dag_file)  # a class of the DAG file itself; watchers name it without what makes its module unique
                module = next((loaded for loaded in list(sys.modules) if plain_module(loaded) == module), module)
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        text = f"There is no trigger {classpath}: {error}. Put it into a module that can be imported, e.g. in the DAG folder."
        raise ImportError(text) from error
    if not (isinstance(found, type) and callable(getattr(found, "run", None))):
        raise TypeError(f"{classpath} is no trigger")
    return found


def _can_import(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


async def serve(voice: Voice, masker: Masker) -> None:
    """Until stdin ends."""
    server = Server(voice, masker)
    with current.use_comms(server):
        triggers = Triggers(voice, server)
        Watch(triggers.loop, voice).start()
        stdin = os.fdopen(os.dup(0), "rb")
        threading.Thread(target=triggers.read, args=(stdin,), name="triggerer", daemon=True).start()
        await triggers.ended.wait()
        await triggers.end()


def main(arguments: list[str]) -> None:
    """The process."""
    dags_folder, parent = arguments[0], int(arguments[1])
    procs.die_with_parent(parent)
    procs.set_name("trackside-trigs")
    voice = Voice(os.dup(1))
    os.dup2(2, 1)
    masker = Masker()
    logs.set_up(voice.say, masker)
    from trackside.airflow import install

    install()
    sys.path.insert(0, dags_folder)
    plugins.load()
    asyncio.run(serve(voice, masker))
    os._exit(0)  # threads of triggers do not keep the triggerer waiting


if __name__ == "__main__":
    main(sys.argv[1:])
