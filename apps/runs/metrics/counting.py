"""What a process tells of itself through its row in `runs_process`, and the scheduler's slow duties beside its ticks: adding up
the events (`rollup`) and letting old runs go (`apps.runs.retention`)."""

from __future__ import annotations

import logging
import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from apps.runs import retention, sql
from apps.runs.metrics import rollup
from apps.runs.scheduler import Scheduler

logger = logging.getLogger(__name__)
ROLLUP_EVERY_S = 2.0
PRUNE_EVERY_S, PRUNE_AGAIN_S = 3600.0, 2.0
"""Between two looks for old runs, and between two bites of them."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


def own_facts() -> dict[str, Any]:
    """CPU time and memory of this process."""
    facts: dict[str, Any] = {"cpu_seconds": round(time.process_time(), 2)}
    try:
        facts["rss_bytes"] = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        pass  # not Linux
    return facts


class CountingScheduler:
    """A scheduler that counts what it does. `step` and `info` are for `loop.Loop`."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self.counts: dict[str, Any] = {
            "ticks": 0, "tick_seconds": 0.0, "created": 0, "begun": 0, "planned": 0, "scheduled": 0, "admitted": 0, "lost": 0,
        }  # fmt: skip
        self._added_at = 0.0
        self._prune_at = 0.0

    def step(self) -> datetime | None:
        """One tick, and the rollup when it is due."""
        began = time.perf_counter()
        tick = self.scheduler.tick()
        counts = self.counts
        counts["ticks"] += 1
        counts["tick_seconds"] = round(counts["tick_seconds"] + time.perf_counter() - began, 6)
        for name in ("created", "begun", "planned", "scheduled", "admitted", "lost"):
            counts[name] += getattr(tick, name)
        return self._prune(self._add_up(tick.next_at))

    def info(self) -> dict[str, Any]:
        """For its row."""
        return {**self.counts, **own_facts()}

    def _add_up(self, due: datetime | None) -> datetime | None:
        if time.monotonic() - self._added_at < ROLLUP_EVERY_S:
            return due
        self._added_at = time.monotonic()
        try:
            added = rollup.run_once()
        except (DatabaseError, InterfaceError):
            raise
        except Exception:
            logger.exception("metrics: events could not be added up; tasks are not affected")
            return due
        if added < rollup.BATCH:
            return due
        soon = sql.now() + timedelta(seconds=ROLLUP_EVERY_S)
        return min(due, soon) if due else soon

    def _prune(self, due: datetime | None) -> datetime | None:
        """A bite of the runs whose retention is over."""
        if settings.RUN_RETENTION_DAYS == 0 or time.monotonic() < self._prune_at:
            return due
        try:
            done = retention.prune_once(settings.RUN_RETENTION_DAYS)
        except (DatabaseError, InterfaceError):
            raise
        except Exception:
            logger.exception("old runs could not be deleted")
            done = retention.Pruned()
        if not done.more:
            self._prune_at = time.monotonic() + PRUNE_EVERY_S
            rollup.tidy()
            return due
        self._prune_at = time.monotonic() + PRUNE_AGAIN_S
        soon = sql.now() + timedelta(seconds=PRUNE_AGAIN_S)
        return min(due, soon) if due else soon
