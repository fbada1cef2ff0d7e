"""What a processor remembers about files: their rows, what was parsed when, and who is next.

For `processor`. All of it can be lost: a processor that starts anew parses a little more and comes to the same rows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from django.db.models import Count, Q
from django.utils import timezone

from apps.dags.catalogue import Stored
from apps.dags.models import ITSELF, DagFile
from apps.dags.scanning import Scan, Seen, Signature
from trackside.runner.bundles import DEFAULT_NAME
from trackside.runner.parsing import ParseResult

logger = logging.getLogger(__name__)

ASKED, CHANGED, PERIODIC = 0, 1, 2
"""Priorities, most urgent first."""
MASS = 5
"""When at least this many files, and more than half of all, vanish at once, the folder itself is suspected (unmounted,
half checked out): they count as gone only after MASS_GRACE_S."""
MASS_GRACE_S = 30.0
SHARE = 0.02
"""Part of one core that parsing unchanged files again may take: a large folder is gone through more slowly."""
PARSE_COST_S = 0.03
"""What a file whose parse has not been timed yet is assumed to cost."""
GROUP_S = 2.0
"""Files due within this time are parsed together: fewer wake-ups, one statement for all."""


@dataclass(slots=True, eq=False)
class Known:
    """One file."""

    path: str
    relative: str
    signature: Signature = (0, 0, 0)
    pk: int | None = None
    parsed_signature: Signature | None = None
    parsed_at: float | None = None
    """Monotonic; None: never by this processor nor, lately, by another."""
    stored_at: datetime | None = None
    """`last_parsed_at` as this processor left it: if it differs, another one stored since."""
    fingerprint: str | None = None
    """Of the last result, while the rows are known to say the same."""
    expected: int = 0
    """DAGs of the file that are not stale, after the last store."""
    missing: frozenset[str] = frozenset()
    """DAGs that the last parse lacked for the first time."""
    imports: frozenset[str] = frozenset()
    custom: bool | None = None
    """Whether a DAG of it has a timetable class of the user's; None: not known."""
    broken: bool = False
    """The last parse had problems."""
    duration: float = PARSE_COST_S
    """Seconds its last parse took."""
    discards: int = 0
    absent_scans: int = 0
    absent_since: float = 0.0
    priority: int | None = None
    """Set while it waits to be parsed."""
    waiting_since: float = 0.0
    not_before: float = 0.0

    def remember(self, result: ParseResult, stored: Stored, now: datetime, fingerprint: str | None) -> None:
        """After a store."""
        self.stored_at, self.fingerprint = now, fingerprint
        self.expected = len(stored.delivered)
        self.missing = frozenset(stored.missing)
        self.imports = frozenset(result.imports)
        self.custom = bool(result.planned) if result.dags else None
        self.broken = stored.problems > 0


@dataclass(slots=True)
class Register:
    """All files of one bundle that a processor knows, by path."""

    folder: Path
    reparse_interval: float
    share: float = SHARE
    loaded: bool = False
    bundle_name: str = DEFAULT_NAME
    _files: dict[str, Known] = field(default_factory=dict)
    _pks: dict[int, Known] = field(default_factory=dict)
    _helpers: dict[str, Signature] = field(default_factory=dict)
    """Signatures of all sources, also those that hold no DAGs."""

    def __len__(self) -> int:
        return len(self._files)

    def all(self) -> list[Known]:
        """Every file that exists."""
        return [k for k in self._files.values() if k.absent_scans == 0]

    def by_pk(self, pk: int) -> Known | None:
        return self._pks.get(pk)

    def load(self) -> None:
        """Rows of earlier days: what was parsed a moment ago by another processor need not be parsed at once."""
        now, clock = timezone.now(), time.monotonic()
        for row in DagFile.objects.filter(bundle_name=self.bundle_name).exclude(relative_path=ITSELF):
            path = str(self.folder / row.relative_path)  # the folder may have moved since
            if path != row.path:
                DagFile.objects.filter(pk=row.pk).update(path=path)
            known = Known(path, row.relative_path, pk=row.pk)
            if row.last_parsed_at is not None and (now - row.last_parsed_at).total_seconds() < self.reparse_interval:
                known.parsed_at = clock - max(0.0, (now - row.last_parsed_at).total_seconds())
                known.parsed_signature = (round(row.mtime * 1e9), row.size, 0)
            self._add(known)
        self.loaded = True

    def wants(self, seen: Seen) -> bool:
        """Files that gave DAGs or problems stay, whatever is in them now: an emptied file must be parsed to know."""
        known = self._files.get(seen.path)
        return known is not None and known.pk is not None

    def update(self, candidates: dict[str, Seen], scan: Scan) -> None:
        """Learn what a scan saw: new files get rows, changed ones are queued, and so is who imports changed ones."""
        changed = {p for p, s in scan.files.items() if self._helpers.get(p) != s.signature} if self._helpers else set()
        self._helpers = {p: s.signature for p, s in scan.files.items()}
        for path, seen in candidates.items():
            known = self._files.get(path)
            if known is None:
                known = self._add(Known(path, seen.relative))
            known.absent_scans = 0
            differs = known.signature != seen.signature and not _same(known.parsed_signature, seen.signature)
            if differs or (known.parsed_at is None and known.priority is None):
                self.enqueue(known, CHANGED)
            known.signature = seen.signature
        for known in self._files.values() if changed else ():
            if known.broken or not known.imports.isdisjoint(changed):  # broken: perhaps this is what it lacked
                self.enqueue(known, CHANGED)
        self._make_rows([k for k in self._files.values() if k.pk is None and k.path in candidates])

    def gone(self, scan: Scan, scan_interval: float) -> list[Known]:
        """Files that two scans in a row did not see (many at once: for a while longer)."""
        clock = time.monotonic()
        absent = [k for k in self._files.values() if k.path not in scan.files and not scan.is_unknown(k.path)]
        mass = len(absent) >= MASS and 2 * len(absent) > len(self._files)
        found = []
        for known in absent:
            known.absent_since = known.absent_since if known.absent_scans else clock
            known.absent_scans += 1
            known.priority = None
            if known.absent_scans >= 2 and clock - known.absent_since >= (MASS_GRACE_S if mass else scan_interval / 2):
                found.append(known)
        return found

    def forget(self, gone: Collection[Known]) -> None:
        for known in gone:
            self._files.pop(known.path, None)
            if known.pk is not None:
                self._pks.pop(known.pk, None)

    def ask(self, pk: int) -> None:
        """Somebody wants this file parsed now."""
        known = self._pks.get(pk)
        if known is not None and known.absent_scans == 0 and known.priority != ASKED:
            self.enqueue(known, ASKED)

    def enqueue(self, known: Known, priority: int, *, delay: float = 0.0) -> None:
        """Have it parsed; a more urgent wish that waits already stays."""
        clock = time.monotonic()
        if known.priority is None:
            known.waiting_since, known.not_before = clock, clock + delay
            known.priority = priority
        else:
            known.priority = min(known.priority, priority)
            known.not_before = min(known.not_before, clock + delay)

    def waiting(self) -> bool:
        return any(k.priority is not None for k in self._files.values())

    def take(self, flying: Collection[str]) -> tuple[Known, int] | None:
        """The most urgent file and its priority, oldest wish first; those being parsed wait."""
        clock = time.monotonic()
        waiting = (k for k in self._present(flying) if k.priority is not None and k.not_before <= clock)
        best = min(waiting, key=lambda k: (k.priority, k.waiting_since), default=None)
        if best is None or best.priority is None:
            return None
        priority, best.priority = best.priority, None
        return best, priority

    def most_urgent(self, flying: Collection[str]) -> tuple[int, float] | None:
        """Priority and age of what `take` would give; the smaller, the sooner."""
        clock = time.monotonic()
        waiting = (k for k in self._present(flying) if k.priority is not None and k.not_before <= clock)
        return min(((k.priority or 0, k.waiting_since) for k in waiting), default=None)

    def next_due(self, flying: Collection[str]) -> float | None:
        """Monotonic moment at which `take` may have something to give."""
        pause = self.pause
        moments = [k.not_before if k.priority is not None else self._due(k, pause) for k in self._present(flying)]
        return min(moments, default=None)

    def wake_due(self, clock: float, flying: Collection[str]) -> None:
        """Queue files whose last parse is REPARSE_INTERVAL ago, unless another processor parsed them since."""
        idle = [k for k in self._present(flying) if k.priority is None]
        pause = self.pause
        if not any(self._due(k, pause) <= clock for k in idle):
            return
        due = [k for k in idle if self._due(k, pause) <= clock + GROUP_S]
        rows = DagFile.objects.filter(pk__in=[k.pk for k in due if k.pk]).annotate(
            living=Count("dags", filter=Q(dags__is_stale=False))
        )
        found = {row.pk: row for row in rows}
        now = timezone.now()
        for known in due:
            row = found.get(known.pk or 0)
            if row is None:  # another processor took it for gone
                self.lost_row(known)
                continue
            if row.last_parsed_at != known.stored_at or row.living != known.expected:
                known.fingerprint = None  # the rows are no longer what we left
            age = (now - row.last_parsed_at).total_seconds() if row.last_parsed_at else pause
            same = (row.mtime, row.size) == (known.signature[0] / 1e9, known.signature[1])
            if row.last_parsed_at != known.stored_at and same and age < pause - GROUP_S:
                known.parsed_at = clock - max(0.0, age)
            else:
                self.enqueue(known, PERIODIC)

    def touched(self, pks: Collection[int], now: datetime) -> None:
        """`last_parsed_at` of these was set to `now`."""
        for pk in pks:
            if (known := self._pks.get(pk)) is not None:
                known.stored_at = now

    def lost_row(self, known: Known) -> None:
        """The row of a file is gone although the file is not: the next scan makes another and parses it."""
        self._pks.pop(known.pk or 0, None)
        known.pk = known.parsed_at = known.fingerprint = None

    def _present(self, flying: Collection[str]) -> list[Known]:
        """Files that exist, have a row and are not being parsed."""
        return [k for k in self._files.values() if k.pk is not None and k.absent_scans == 0 and k.path not in flying]

    @staticmethod
    def _due(known: Known, pause: float) -> float:
        return (known.parsed_at or 0.0) + pause

    @property
    def pause(self) -> float:
        """Seconds between two parses of an unchanged file: REPARSE_INTERVAL, more when that would keep a core busy."""
        return max(self.reparse_interval, sum(k.duration for k in self._files.values()) / self.share)

    def _add(self, known: Known) -> Known:
        self._files[known.path] = known
        if known.pk is not None:
            self._pks[known.pk] = known
        return known

    def _make_rows(self, new: list[Known]) -> None:
        fits = [k for k in new if len(k.relative) <= 1000 and len(k.path) <= 2000]
        if not fits:
            return
        DagFile.objects.bulk_create(
            [DagFile(bundle_name=self.bundle_name, path=k.path, relative_path=k.relative) for k in fits],
            ignore_conflicts=True,
            batch_size=500,
        )
        rows = DagFile.objects.filter(bundle_name=self.bundle_name, relative_path__in=[k.relative for k in fits])
        pks = dict(rows.values_list("relative_path", "pk"))
        for known in fits:
            known.pk = pks.get(known.relative)
            if known.pk is not None:
                self._pks[known.pk] = known


def _same(parsed: Signature | None, seen: Signature) -> bool:
    """Whether a file is as it was parsed. Rows have no inode, and their time is a float: microseconds are compared."""
    if parsed is None:
        return False
    if parsed[2] == 0:
        return abs(parsed[0] - seen[0]) < 1_000 and parsed[1] == seen[1]
    return parsed == seen
