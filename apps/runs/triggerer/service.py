"""The triggerer: takes triggers that nobody alive waits for, has its child run them, carries out what they found.

One `step` of the loop (`apps.runs.loop`): hear the child → fire → see what is still wanted → take more → start and cancel →
write logs. Woken by NOTIFY, by the child, and by the slow safety poll. It holds nothing that matters: after a crash its
triggers belong to the next triggerer as soon as its lease has run out, and what had fired and was not yet carried out
fires again. User code runs in the child only, which has no way to the database.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction

from apps.runs import processes, sql, wake
from apps.runs.errands.triggered import AsyncErrands
from apps.runs.loop import Loop
from apps.runs.models import Process
from apps.runs.triggerer import facts, firing, rows
from apps.runs.triggerer.suspects import Suspects
from apps.runs.triggerer.tasklog import TaskLogs
from apps.runs.triggerer.watching import Watching, is_watcher
from trackside.runner.triggers import TriggerChild

logger = logging.getLogger(__name__)

BATCH = 200
"""Outcomes carried out in one transaction."""
IDLE_S = 30.0
"""Seconds without triggers after which the child is ended, for its memory."""
MAX_HEARD = 10_000
"""Messages of the child kept in memory; one that talks faster waits."""


class Triggerer:
    """One triggerer process. Not for several threads, except `hear`."""

    def __init__(self, *, capacity: int | None = None, queues: Sequence[str] | None = None, dags_folder: str | None = None) -> None:
        self.capacity = capacity or settings.TRIGGER_CAPACITY
        self.queues = queues
        self.dags_folder = dags_folder or str(settings.DAGS_FOLDER)
        self.loop = Loop("triggerer", self.step, wake.TRIGGER)
        self.child: TriggerChild | None = None
        self.running: dict[int, rows.Job] = {}
        """Triggers that the child was told to run and that have not fired."""
        self.watching = Watching()
        self.logs = TaskLogs()
        self.errands = AsyncErrands()
        self._heard: queue.Queue[tuple[TriggerChild, dict[str, Any]]] = queue.Queue(MAX_HEARD)
        self._outcomes: list[firing.Outcome] = []
        self._suspects = Suspects()
        self._child_since = self._start_at = self._busy_at = time.monotonic()
        self._shown: tuple[Any, int] | None = None

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        self.loop.process = processes.register("triggerer", lease=3 * self.loop.beat_every)
        try:
            self.loop.run()
        finally:
            self.close()

    def close(self) -> None:
        """End the child; its triggers wait for the next triggerer."""
        child, self.child = self.child, None
        if child is not None:
            child.stop()

    def hear(self, child: TriggerChild, message: dict[str, Any]) -> None:
        """Called from the child's reader thread."""
        self._heard.put((child, message))
        self.loop.wake()

    def step(self) -> datetime | None:
        """One pass; when the next is due."""
        process = self.loop.process
        if process is None:
            return None
        self._listen()
        self._fire()
        self.watching.fire(process.pk)
        held = rows.held(process.pk) | self.errands.held.keys()
        self._cancel(held)
        with transaction.atomic():
            held |= rows.claim(process.pk, self.capacity - len(held), self.queues, sql.now())
        held |= self.errands.take(process.pk)
        if self.queues is None:  # watchers belong to no queue
            held |= self.watching.take(process.pk, self.capacity - len(held), self.child.send if self.child is not None else None)
        self._start(held)
        rows.sweep()
        self.logs.flush()
        self._show(process)
        return self._next(bool(held))

    # --- hear -----------------------------------------------------------------------------------------------------
    def _listen(self) -> None:
        for _ in range(MAX_HEARD):
            try:
                child, message = self._heard.get_nowait()
            except queue.Empty:
                return
            if message.get("is") in ("event", "error", "log") and self.watching.hear(message):
                continue
            match message.get("is"):
                case "event":
                    shown = message.get("shown") or {}
                    self._outcome(firing.Outcome(message["id"], message["kind"], message["payload"], message["xcoms"], shown=shown))
                case "error":
                    self._outcome(firing.Outcome(message["id"], "error", error=str(message["error"])))
                case "log" if message["id"] < 0:
                    self.errands.log(message["id"], message["line"])
                case "log" if message["id"] in self.running:
                    self.logs.add(self.running[message["id"]].try_id, message["line"])
                case "blocked":
                    self._blocked(message)
                case "ask":
                    self._answer(child, message)
                case "gone" if child is self.child:
                    self._lost_child(message)

    def _outcome(self, outcome: firing.Outcome) -> None:
        if outcome.trigger_id in self.running:
            self._outcomes.append(outcome)

    def _blocked(self, message: dict[str, Any]) -> None:
        job = self.running.get(message["id"])
        classpath = job.message["classpath"] if job else self.watching.running.get(message["id"] or 0, "Something")
        name = classpath.rpartition(".")[2]
        text = (
            f"{name} has blocked every trigger of this triggerer for {message['seconds']} s, at {message['where']}. "
            "Triggers must await: use asyncio's calls, or asyncio.to_thread for what blocks."
        )
        logger.warning("%s (trigger %s)", text, message["id"])
        if job is not None and job.id > 0:
            self.logs.system(job.try_id, text, "warning")

    def _answer(self, child: TriggerChild, message: dict[str, Any]) -> None:
        try:
            status, body = facts.answer(message["method"], message["path"], message.get("params") or {}, message.get("body"))
        except Exception as e:
            logger.exception("answering %s failed", message.get("path"))
            status, body = 500, {"detail": f"{type(e).__name__}: {e}"}
        child.send({"do": "answer", "ask": message["ask"], "status": status, "body": body})

    def _lost_child(self, message: dict[str, Any]) -> None:
        """The child died, by a trigger's fault or another's: what it ran starts again in the next one."""
        culprit, pause = self._suspects.died(time.monotonic() - self._child_since, {*self.running, *self.watching.running})
        logger.error("the trigger process ended (exit code %s) with %d triggers; again in %g s", message["code"], len(self.running), pause)
        for job in (j for j in self.running.values() if j.id > 0):
            self.logs.system(job.try_id, "The process in which the trigger waited ended; it starts again.", "warning")
        if culprit is not None:
            error = f"The trigger ends the process in which triggers wait (exit code {message['code']}), again and again."
            if is_watcher(culprit):
                self.watching.fail(culprit, error)
            else:
                self._outcomes.append(firing.Outcome(culprit, "error", error=error))
        self.child = None
        self.running.clear()
        self.watching.child_died()
        self._start_at = time.monotonic() + pause

    # --- act ------------------------------------------------------------------------------------------------------
    def _fire(self) -> None:
        while self._outcomes:
            batch = self._outcomes[:BATCH]
            self.logs.flush({self.running[o.trigger_id].try_id for o in batch if o.trigger_id in self.running and o.trigger_id > 0})
            self._carry_out(batch)
            # only now: should the database go away, they are carried out when it is back
            del self._outcomes[: len(batch)]
            for outcome in batch:
                self.running.pop(outcome.trigger_id, None)

    def _carry_out(self, batch: list[firing.Outcome]) -> None:
        """One that cannot be carried out fails its task, and holds up nobody else."""
        for outcome in batch:
            if outcome.trigger_id < 0:
                self.errands.finish(outcome)
        batch = [o for o in batch if o.trigger_id > 0]
        try:
            if batch:
                firing.apply(batch)
        except (OperationalError, InterfaceError):
            raise
        except Exception as e:
            if len(batch) > 1:
                for outcome in batch:
                    self._carry_out([outcome])
                return
            logger.exception("what trigger %s found cannot be carried out", batch[0].trigger_id)
            if batch[0].kind != "error":
                error = f"What its trigger found cannot be stored: {type(e).__name__}: {e}"
                self._carry_out([firing.Outcome(batch[0].trigger_id, "error", error=error)])

    def _cancel(self, held: set[int]) -> None:
        gone = self.running.keys() - held
        if not gone or self.child is None:
            return
        elsewhere = rows.is_wanted(gone)
        for number in gone:
            # `on_kill` is for tasks that were cleared or marked, not for triggers that another triggerer took over
            self.child.send({"do": "cancel", "id": number, "kill": number not in elsewhere})
            del self.running[number]

    def _start(self, held: set[int]) -> None:
        new = held - self.running.keys() - self.watching.running.keys()
        if not new or time.monotonic() < self._start_at or not (new := self._suspects.choose(new)):
            return
        if self.child is None:
            self.child = TriggerChild(self.dags_folder, self.hear)
            self._child_since = time.monotonic()
        watched = {n for n in new if is_watcher(n)}
        if watched:
            self.watching.start(watched, self.child.send)
        new -= watched
        for job in [*rows.jobs(n for n in new if n > 0), *self.errands.jobs(new)]:
            self.running[job.id] = job
            if "wrong" in job.message:
                self._outcomes.append(firing.Outcome(job.id, "error", error=job.message["wrong"]))
                self.loop.wake()
            else:
                self.child.send(job.message)

    def _show(self, process: Process) -> None:
        """Capacity and load, for the health page."""
        info = {"triggers": len(self.running), "watchers": len(self.watching.running)}
        shown = (process.pk, sum(info.values()))
        if shown != self._shown:
            Process.objects.filter(pk=process.pk).update(slots=self.capacity, info=info)
            self._shown = shown

    def _next(self, is_busy: bool) -> datetime | None:
        """When time alone makes work: a child to start or to end, log lines to write."""
        now = time.monotonic()
        if is_busy:
            self._busy_at = now
        elif self.child is not None and now - self._busy_at >= IDLE_S:
            self.close()
        waits = [self._start_at - now] if is_busy and self.child is None else []
        if self._suspects.is_careful:
            waits.append(0.25)
        if self.logs.is_waiting:
            waits.append(0.5)
        return sql.now() + timedelta(seconds=max(0.0, min(waits))) if waits else None
