"""The DAG processor: keeps the catalogue in step with the DAG bundles.

For the command `dag_processor`. One thread, one loop: scan (every SCAN_INTERVAL, sooner on a hint), hand files to the
parse server (asked for > changed > periodic, PARSE_PROCESSES at a time), store what comes back. Next door: `sources` (one
per bundle; remotes are refreshed by threads of theirs), `scanning`, `watching`, `known` (what is remembered per file),
`catalogue`.

Several processors may run: a store is idempotent, locks its file, and a result is thrown away when the file, or the
version of its bundle, changed while it was parsed. No lock is held while a file is parsed. What a processor remembers only
saves work.
"""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from apps.access.teams import Code
from apps.dags import answers, catalogue, hooks
from apps.dags.catalogue import FileFacts
from apps.dags.known import ASKED, CHANGED, PERIODIC, SHARE, Known
from apps.dags.models import ITSELF, Dag, DagFile, ImportProblem
from apps.dags.scanning import signature_of
from apps.dags.shipping import Shipper
from apps.dags.sources import Source
from trackside.runner import probes
from trackside.runner.bundles import DEFAULT_NAME, BundleConfig
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

    source: Source
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
        bundles: Collection[str] | None = None,
    ) -> None:
        """`folder`: this one folder instead of the configured bundles. `bundles`: only these of them."""
        configs = settings.DAG_BUNDLES if folder is None else [BundleConfig(DEFAULT_NAME, "local", {"path": str(folder)})]
        wanted = [c for c in configs if bundles is None or c.name in bundles]
        self.processes = processes or settings.PARSE_PROCESSES
        self.scan_interval = scan_interval or settings.SCAN_INTERVAL
        self.sources = [
            Source(
                config, settings.BUNDLES_FOLDER, self.hint, syntax=settings.DAG_IGNORE_FILE_SYNTAX, share=share / len(wanted), watch=watch,
                reparse_interval=reparse_interval or settings.REPARSE_INTERVAL,
            )
            for config in wanted
        ]  # fmt: skip
        self.shippers = [Shipper(s.config.name, s.folder) for s in self.sources if settings.SHIP_DAG_FILES and not s.bundle.remote]
        self._every = [config.name for config in configs] if folder is None else None
        """Names of all bundles of the site; None: not known, so none is taken for removed."""
        self.server = ParseServer(parse or parse_settings(self.sources[0].folder), answers.answer)
        self.counters = {"scans": 0, "parsed": 0, "stored": 0, "unchanged": 0}
        self._flights: dict[int, _Flight] = {}
        self._touched: dict[int, float] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._started = self._stopping = False
        self._hinted = True
        self._next_scan = self._next_beat = 0.0

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
        pause = 0.2
        try:
            while not self._stopping:
                try:
                    self.step()
                    pause = 0.2
                except (OperationalError, InterfaceError, ParseServerFailed) as e:
                    # without database or parse server there is nothing to do but to come back; results are parsed again
                    logger.warning("again in %.1f s: %s", pause, str(e).strip() or type(e).__name__)
                    lacking = "parse server" if isinstance(e, ParseServerFailed) else "database"
                    probes.turn(f"The {lacking} does not answer.")
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
        for source in self.sources:
            source.close()
        fds, self._wake_read, self._wake_write = (self._wake_read, self._wake_write), -1, -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)

    def step(self, timeout: float | None = None) -> None:
        """One round: beat, scan if it is time, hand out, wait for something to happen, store."""
        now = time.monotonic()
        if not self._started:
            self._start()
        probes.turn()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_S
            hooks.process_beat(KIND, self._health())
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
        return not self._flights and not any(s.files.waiting() for s in self.sources)

    def _start(self) -> None:
        """Once, when the database answers."""
        if self._every is not None and (gone := catalogue.bundles_gone(self._every)):
            logger.info("no longer configured: the bundles of %s", ", ".join(gone))
        for source in self.sources:
            source.start()
        self._started = True

    def _health(self) -> dict[str, Any]:
        files = sum(len(s.files) for s in self.sources)
        return {**self.counters, "files": files, "parsing": len(self._flights), "bundles": [s.health() for s in self.sources]}

    # Scanning

    def _scan(self) -> None:
        self.counters["scans"] += 1
        for source in self.sources:
            if source.error != source.told:
                catalogue.bundle_problem(source.config.name, str(source.folder), source.error)
                source.told = source.error
            self._scan_one(source)
        self._ship()
        started = {f.file.pk: f.facts.started for f in self._flights.values()}
        asked = DagFile.objects.filter(reparse_requested_at__isnull=False)
        for pk, bundle, relative, asked_at in asked.values_list("pk", "bundle_name", "relative_path", "reparse_requested_at"):
            source_of = next((s for s in self.sources if s.config.name == bundle), None)
            if source_of is None or asked_at is None or (pk in started and started[pk] >= asked_at):
                continue
            if relative == ITSELF:
                DagFile.objects.filter(pk=pk).update(reparse_requested_at=None)
                source_of.refresh_soon()
            source_of.files.ask(pk)

    def _scan_one(self, source: Source) -> None:
        scan = source.scan()
        if scan is None:
            return
        files = source.files
        if not files.loaded:
            files.load()
        files.update({p: s for p, s in scan.files.items() if files.wants(s) or source.scanner.may_hold_dags(s)}, scan)
        gone = files.gone(scan, self.scan_interval)
        if gone:
            self._free(catalogue.files_gone([k.pk for k in gone if k.pk is not None]))
            files.forget(gone)
            logger.info("gone: %s", ", ".join(k.relative for k in gone))
        source.follow_version(PERIODIC)

    def _ship(self) -> None:
        """Have archives of what just changed, and new versions point at theirs."""
        for shipper in self.shippers:
            shipper.run_once()

    # Parsing

    def _hand_out(self) -> None:
        if len(self._flights) >= self.processes:
            return
        for source in self.sources:
            source.files.wake_due(time.monotonic(), self._flying())
        while len(self._flights) < self.processes and (source_of := self._next_source()) is not None:
            version = source_of.version()
            taken = source_of.files.take(self._flying())
            assert taken is not None  # _next_source looked
            file, priority = taken
            try:
                plan = {} if priority == PERIODIC and file.custom is False else plan_for(file)
                file.parsed_signature, file.parsed_at = file.signature, time.monotonic()
                facts = FileFacts(timezone.now(), file.signature[0] / 1e9, file.signature[1], version)
                answer = partial(answers.answer, code=Code(source_of.config.name, file.relative))
                request_id = self.server.submit(file.path, plan, str(source_of.folder), answer)
            except BaseException:
                source_of.files.enqueue(file, priority)
                raise
            self._flights[request_id] = _Flight(source_of, file, facts, priority == ASKED)

    def _next_source(self) -> Source | None:
        """The one with the most urgent file, oldest wish first. One that is being changed waits."""
        flying = self._flying()
        best: tuple[tuple[int, float], Source] | None = None
        for source in self.sources:
            found = source.files.most_urgent(flying)
            if found is not None and source.version() != "" and (best is None or found < best[0]):
                best = found, source
        return best[1] if best is not None else None

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
        moved = flight.source.version() != flight.facts.bundle_version
        if moved or (now_there != file.parsed_signature and now_there is not None and file.discards < MAX_DISCARDS):
            file.discards += 1
            flight.source.files.enqueue(file, CHANGED)
            self._hinted = True  # learn the new signature
            return
        file.discards = 0
        fingerprint = f"{flight.facts.bundle_version or ''}{reply.fingerprint}"
        if not flight.asked and file.fingerprint == fingerprint and file.pk is not None:
            self.counters["unchanged"] += 1
            self._touched[file.pk] = reply.duration
            return
        self._store(flight, reply.result(), fingerprint)

    def _store(self, flight: _Flight, result: ParseResult, fingerprint: str) -> None:
        file = flight.file
        row = DagFile(pk=file.pk, relative_path=file.relative, path=file.path)
        now = timezone.now()
        try:
            stored = catalogue.store_parse_result(row, result, facts=flight.facts, grace=file.missing, now=now)
        except (OperationalError, InterfaceError):
            flight.source.files.enqueue(file, CHANGED)
            raise
        except Exception as e:
            # one file that no column can hold must not stop the others
            logger.exception("storing %s failed", file.relative)
            said = (str(e).splitlines() or [type(e).__name__])[0]
            refused = ParseResult(file.path, duration=result.duration, content_hash=result.content_hash)
            refused.errors = [ParseProblem(f"The DAGs of this file cannot be stored: {said}")]
            stored = catalogue.store_parse_result(row, refused, facts=flight.facts, grace=(), now=now)
        if stored is None:  # another processor took it for gone
            flight.source.files.lost_row(file)
            self._hinted = True
            return
        self.counters["stored"] += 1
        self._ship()
        for problem in result.errors:
            logger.info("%s: %s", file.relative, problem.message)
        settled = not stored.missing and not stored.problems
        file.remember(result, stored, now, fingerprint if settled else None)
        if stored.missing:
            flight.source.files.enqueue(file, PERIODIC, delay=CONFIRM_S)
        self._free(stored.stale)

    def _free(self, dag_ids: list[str]) -> None:
        """DAG ids that no file has any more: whoever wanted them too may have them."""
        if not dag_ids:
            return
        rivals = ImportProblem.objects.filter(dag_id__in=dag_ids).values_list("file_id", flat=True)
        for pk in set(rivals):
            for source in self.sources:
                if (file := source.files.by_pk(pk)) is not None:
                    file.fingerprint = None
                    source.files.enqueue(file, CHANGED)

    def _flush(self) -> None:
        if self._touched:
            now = timezone.now()
            catalogue.touch_files(list(self._touched.items()), now)
            for source in self.sources:
                source.files.touched(self._touched, now)
            self._touched = {}

    def _lose_flights(self) -> None:
        """What was being parsed is parsed again."""
        for flight in self._flights.values():
            flight.source.files.enqueue(flight.file, CHANGED)
        self._flights.clear()
        self.server.pending.clear()

    def _wait(self, timeout: float | None = None, *, results: bool = True) -> None:
        now = time.monotonic()
        if timeout is None:
            until = [self._next_scan, self._next_beat]
            if len(self._flights) < self.processes:
                flying = self._flying()
                dues = [s.files.next_due(flying) for s in self.sources if s.version() != ""]
                until += [due for due in dues if due is not None]
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
