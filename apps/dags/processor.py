"""The DAG processor: keeps the catalogue in step with the DAG folder.

For the command `dag_processor`. One thread, one loop: scan (every SCAN_INTERVAL, sooner on a hint), hand files to the
parse server (asked for > changed > periodic, PARSE_PROCESSES at a time), store what comes back. Next door: `scanning`,
`watching`, `known` (what is remembered per file), `catalogue`.

Several processors may run: a store is idempotent, locks its file, and a result is thrown away when the file changed
while it was parsed. No lock is held while a file is parsed. What a processor remembers only saves work.
"""

from __future__ import annotations

import logging
import os
import select
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from apps.dags import answers, catalogue, hooks
from apps.dags.catalogue import FileFacts
from apps.dags.known import ASKED, CHANGED, PERIODIC, SHARE, Known, Register
from apps.dags.models import Dag, DagFile, ImportProblem
from apps.dags.scanning import Scanner, signature_of
from apps.dags.watching import Watcher
from trackside.runner.parsing import (
    ParseProblem,
    ParseReply,
    ParseResult,
    ParseServer,
    ParseServerFailed,
    ParseSettings,
)
from trackside.runner.parsing.custom import is_custom

logger = logging.getLogger(__name__)

KIND = "dag_processor"
BEAT_S = 5.0
CONFIRM_S = 1.0
"""Pause before a parse that lacks a DAG is repeated to be sure."""
MAX_DISCARDS = 3
"""Results thrown away in a row because the file changed meanwhile; then one is stored all the same."""


@dataclass(slots=True)
class _Flight:
    """A file at the parse server."""

    file: Known
    facts: FileFacts
    asked: bool


class Processor:
    """The loop and its memory. `run()` until `stop()`."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        parse: ParseSettings | None = None,
        processes: int | None = None,
        scan_interval: float | None = None,
        reparse_interval: float | None = None,
        watch: bool = True,
        share: float = SHARE,
    ) -> None:
        self.folder = folder or settings.DAGS_FOLDER
        self.processes = processes or settings.PARSE_PROCESSES
        self.scan_interval = scan_interval or settings.SCAN_INTERVAL
        self.reparse_interval = reparse_interval or settings.REPARSE_INTERVAL
        self.scanner = Scanner(self.folder, syntax=getattr(settings, "DAG_IGNORE_FILE_SYNTAX", "glob"))
        self.files = Register(self.folder, self.reparse_interval, share)
        self.server = ParseServer(parse or parse_settings(self.folder), answers.answer)
        self.counters = {"scans": 0, "parsed": 0, "stored": 0, "unchanged": 0}
        self._flights: dict[int, _Flight] = {}
        self._touched: dict[int, float] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._watcher = Watcher(self.folder, self.hint) if watch else None
        self._stopping = False
        self._hinted = True
        self._next_scan = self._next_beat = 0.0
        self._folder_id: tuple[int, int] | None = None
        self._folder_told = False

    # Control

    def hint(self) -> None:
        """Something changed: scan now. Callable from any thread and from signal handlers."""
        self._hinted = True
        try:
            os.write(self._wake_write, b"!")
        except OSError:
            pass  # full: it will wake anyway; closed: there is nobody to wake

    def stop(self, *_: object) -> None:
        """End the loop; what is being parsed is dropped."""
        self._stopping = True
        self.hint()

    def run(self) -> None:
        """Work until `stop()`; leaves no process behind."""
        if self._watcher:
            self._watcher.start()
        pause = 0.2
        try:
            while not self._stopping:
                try:
                    self.step()
                    pause = 0.2
                except (OperationalError, InterfaceError, ParseServerFailed) as e:
                    # without database or parse server there is nothing to do but to come back; results are parsed again
                    logger.warning("again in %.1f s: %s", pause, str(e).strip() or type(e).__name__)
                    self._lose_flights()
                    connection.close()
                    self._wait(pause, results=False)
                    pause = min(pause * 2, 5.0)
        finally:
            self.close()
        try:
            hooks.process_end(KIND)
        except (OperationalError, InterfaceError):
            pass  # its lease runs out

    def close(self) -> None:
        """End the parse server, the watch and everything below. May be called again."""
        self.server.close()
        if self._watcher:
            self._watcher.stop()
        fds, self._wake_read, self._wake_write = (self._wake_read, self._wake_write), -1, -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)

    def step(self, timeout: float | None = None) -> None:
        """One round: beat, scan if it is time, hand out, wait for something to happen, store."""
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_S
            hooks.process_beat(KIND, {**self.counters, "files": len(self.files), "parsing": len(self._flights)})
        if self._hinted or now >= self._next_scan:
            self._hinted = False
            self._next_scan = now + self.scan_interval
            self._scan()
        self._hand_out()
        self._wait(timeout)
        for request_id, reply in self.server.receive(0):
            self._take(request_id, reply)
        if len(self._touched) >= 200 or not self._flights:
            self._flush()

    @property
    def idle(self) -> bool:
        """Nothing is waiting or being parsed."""
        return not self._flights and not self.files.waiting()

    # Scanning

    def _scan(self) -> None:
        self.counters["scans"] += 1
        try:
            scan = self.scanner.scan()
        except OSError as e:
            if not self._folder_told:
                said = e.strerror or e
                logger.warning("The DAG folder %s cannot be read (%s). DAGs stay as they are.", self.folder, said)
            self._folder_told = True
            return
        self._folder_told = False
        if self._watcher and self._folder_id not in (None, scan.folder_id):
            self._watcher.restart()
        self._folder_id = scan.folder_id
        if not self.files.loaded:
            self.files.load()
        may_hold = {p: s for p, s in scan.files.items() if self.files.wants(s) or self.scanner.may_hold_dags(s)}
        self.files.update(may_hold, scan)
        gone = self.files.gone(scan, self.scan_interval)
        if gone:
            self._free(catalogue.files_gone([k.pk for k in gone if k.pk is not None]))
            self.files.forget(gone)
            logger.info("gone: %s", ", ".join(k.relative for k in gone))
        started = {f.file.pk: f.facts.started for f in self._flights.values()}
        asked = DagFile.objects.filter(reparse_requested_at__isnull=False)
        for pk, asked_at in asked.values_list("pk", "reparse_requested_at"):
            if asked_at and not (pk in started and started[pk] >= asked_at):
                self.files.ask(pk)

    # Parsing

    def _hand_out(self) -> None:
        if len(self._flights) >= self.processes:
            return
        self.files.wake_due(time.monotonic(), self._flying())
        while len(self._flights) < self.processes and (taken := self.files.take(self._flying())) is not None:
            file, priority = taken
            try:
                plan = {} if priority == PERIODIC and file.custom is False else plan_for(file)
                file.parsed_signature, file.parsed_at = file.signature, time.monotonic()
                facts = FileFacts(timezone.now(), file.signature[0] / 1e9, file.signature[1])
                request_id = self.server.submit(file.path, plan)
            except BaseException:
                self.files.enqueue(file, priority)
                raise
            self._flights[request_id] = _Flight(file, facts, priority == ASKED)

    def _flying(self) -> set[str]:
        return {f.file.path for f in self._flights.values()}

    def _take(self, request_id: int, reply: ParseReply) -> None:
        flight = self._flights.pop(request_id, None)
        if flight is None:
            return
        self.counters["parsed"] += 1
        file = flight.file
        file.duration = reply.duration
        now_there = signature_of(file.path)
        if now_there != file.parsed_signature and now_there is not None and file.discards < MAX_DISCARDS:
            file.discards += 1
            self.files.enqueue(file, CHANGED)
            self._hinted = True  # learn the new signature
            return
        file.discards = 0
        if not flight.asked and file.fingerprint == reply.fingerprint and file.pk is not None:
            self.counters["unchanged"] += 1
            self._touched[file.pk] = reply.duration
            return
        self._store(flight, reply.result(), reply.fingerprint)

    def _store(self, flight: _Flight, result: ParseResult, fingerprint: str) -> None:
        file = flight.file
        row = DagFile(pk=file.pk, relative_path=file.relative, path=file.path)
        now = timezone.now()
        try:
            stored = catalogue.store_parse_result(row, result, facts=flight.facts, grace=file.missing, now=now)
        except (OperationalError, InterfaceError):
            self.files.enqueue(file, CHANGED)
            raise
        except Exception as e:
            # one file that no column can hold must not stop the others
            logger.exception("storing %s failed", file.relative)
            said = (str(e).splitlines() or [type(e).__name__])[0]
            refused = ParseResult(file.path, duration=result.duration, content_hash=result.content_hash)
            refused.errors = [ParseProblem(f"The DAGs of this file cannot be stored: {said}")]
            stored = catalogue.store_parse_result(row, refused, facts=flight.facts, grace=(), now=now)
        if stored is None:  # another processor took it for gone
            self.files.lost_row(file)
            self._hinted = True
            return
        self.counters["stored"] += 1
        for problem in result.errors:
            logger.info("%s: %s", file.relative, problem.message)
        settled = not stored.missing and not stored.problems
        file.remember(result, stored, now, fingerprint if settled else None)
        if stored.missing:
            self.files.enqueue(file, PERIODIC, delay=CONFIRM_S)
        self._free(stored.stale)

    def _free(self, dag_ids: list[str]) -> None:
        """DAG ids that no file has any more: whoever wanted them too may have them."""
        if not dag_ids:
            return
        rivals = ImportProblem.objects.filter(dag_id__in=dag_ids).values_list("file_id", flat=True)
        for pk in set(rivals):
            if (file := self.files.by_pk(pk)) is not None:
                file.fingerprint = None
                self.files.enqueue(file, CHANGED)

    def _flush(self) -> None:
        if self._touched:
            now = timezone.now()
            catalogue.touch_files(list(self._touched.items()), now)
            self.files.touched(self._touched, now)
            self._touched = {}

    def _lose_flights(self) -> None:
        """What was being parsed is parsed again."""
        for flight in self._flights.values():
            self.files.enqueue(flight.file, CHANGED)
        self._flights.clear()
        self.server.pending.clear()

    def _wait(self, timeout: float | None = None, *, results: bool = True) -> None:
        now = time.monotonic()
        if timeout is None:
            until = [self._next_scan, self._next_beat]
            if len(self._flights) < self.processes and (due := self.files.next_due(self._flying())) is not None:
                until.append(due)
            timeout = 0.0 if self._hinted else max(0.0, min(until) - now)
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if results and self.server.pid is not None:
            poll.register(self.server.fileno(), select.POLLIN)
        for fd, _event in poll.poll(timeout * 1000):
            if fd == self._wake_read:
                os.read(self._wake_read, 4096)


def plan_for(file: Known) -> dict[str, Any]:
    """Last automated intervals for DAGs of the file with a timetable class of the user's."""
    plan: dict[str, Any] = {}
    for dag_id, timetable in Dag.objects.filter(file_id=file.pk).values_list("dag_id", "timetable"):
        if is_custom(timetable) and (last := hooks.last_automated_interval(dag_id)):
            plan[dag_id] = [last.start.isoformat(), last.end.isoformat()]
    return plan


def parse_settings(folder: Path) -> ParseSettings:
    """The site's settings for the parse server."""
    return ParseSettings(
        dags_folder=str(folder),
        timeout=settings.PARSE_TIMEOUT,
        memory_mb=settings.PARSE_MEMORY_MB,
    )
