"""What one parse of one file does to the catalogue, in one short transaction.

For `catalogue.store_parse_result`. Next door: `flatten` (columns), `versions`, `problems`, `next_runs`. The order of
locks is the file, then DAGs by id, so that processors never wait in a circle.

Rules: a parse that failed alters no DAG, it only marks those it did not deliver (`has_import_errors`). A DAG becomes
stale only by a successful parse that lacks it. The file that had a DAG id first keeps it while it exists.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from apps.dags import assets, flatten, hooks, next_runs, problems, versions
from apps.dags.models import Dag, DagFile, DagTag
from trackside.core.spec import DagSpec
from trackside.executors import registry
from trackside.runner.parsing import ParseProblem, ParseResult


@dataclass(slots=True)
class FileFacts:
    """What was known of the file when its parse began."""

    started: datetime
    mtime: float = 0.0
    size: int = 0
    bundle_version: str | None = None
    """Version of the bundle the file was parsed in; None where there are none."""


@dataclass(slots=True)
class Stored:
    """What a parse changed."""

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    """Gone from the file: another file that has them may take them over."""
    missing: list[str] = field(default_factory=list)
    """Gone from the file for the first time: stale when the next parse says so, too."""
    delivered: list[str] = field(default_factory=list)
    """DAGs this file has, changed or not."""
    problems: int = 0


@dataclass(slots=True)
class _Candidate:
    spec: DagSpec
    raw: dict[str, Any]
    columns: dict[str, Any]


def store(
    file: DagFile, result: ParseResult, facts: FileFacts, grace: Collection[str] | None, now: datetime
) -> Stored | None:
    """See `catalogue.store_parse_result`."""
    for _ in range(3):
        try:
            return _store_once(file, result, facts, grace, now)
        except IntegrityError:
            # another file registered one of our new ids in this very moment: now its row can be seen
            continue
    return _store_once(file, result, facts, grace, now)


def _store_once(
    file: DagFile, result: ParseResult, facts: FileFacts, grace: Collection[str] | None, now: datetime
) -> Stored | None:
    with transaction.atomic():
        locked = DagFile.objects.select_for_update().filter(pk=file.pk).first()
        if locked is None:
            return None
        writer = _Writer(locked, result, facts, now)
        stored = writer.write(grace)
        for verb, dag_ids in writer.verbs.items():
            hooks.dag_changed(dag_ids, verb)
    return stored


class _Writer:
    """One store; the file row is locked."""

    def __init__(self, file: DagFile, result: ParseResult, facts: FileFacts, now: datetime) -> None:
        self.file, self.result, self.facts, self.now = file, result, facts, now
        self.errors = list(result.errors)
        self.verbs: dict[str, list[str]] = {}
        self.before: dict[str, dict[str, Any]] = {}

    def write(self, grace: Collection[str] | None) -> Stored:
        stored = Stored()
        candidates = self._candidates()
        rows = self._lock(candidates)
        stored.created = sorted(set(candidates) - set(rows))
        rows |= {dag_id: self._new(candidates[dag_id]) for dag_id in stored.created}
        mine = self._owned(candidates, rows)
        self._update(mine, rows, stored)
        stored.delivered = list(mine)
        absent = [row for dag_id, row in rows.items() if row.file_id == self.file.pk and dag_id not in mine]
        self._judge_absent(absent, grace, stored)
        stored.problems = len(self.errors)
        never = self.file.last_parsed_at is None and not self.errors
        if not never and problems.replace_problems(self.file, self.errors, self.now) and not self.verbs:
            self.verbs["broken" if self.errors else "mended"] = stored.delivered or [r.dag_id for r in absent]
        self._save_file(len(mine))
        return stored

    def _candidates(self) -> dict[str, _Candidate]:
        """DAGs of the result that can be stored; problems for the others."""
        found: dict[str, _Candidate] = {}
        for raw in self.result.dags:
            dag_id = str(raw.get("dag_id"))
            try:
                spec = DagSpec.from_dict(raw)
                if dag_id in found:
                    raise ValueError("the file defines it twice; give one of them another id")
                _check_executors(spec)
                found[dag_id] = _Candidate(spec, raw, flatten.columns(spec))
            except (ValueError, TypeError, KeyError, AttributeError) as e:
                self.errors.append(ParseProblem(f"DAG {dag_id}: {e}", dag_id=dag_id))
        return found

    def _lock(self, candidates: Collection[str]) -> dict[str, Dag]:
        query = Dag.objects.filter(Q(file=self.file) | Q(dag_id__in=list(candidates))).order_by("dag_id")
        heavy = ("current_version__spec", "current_version__source")
        query = query.select_related("current_version", "file").defer(*heavy).select_for_update(of=("self",), no_key=True)
        return {dag.dag_id: dag for dag in query}

    def _new(self, c: _Candidate) -> Dag:
        """A row for a new id, not saved yet: it is inserted once, with everything in it."""
        wish = c.spec.is_paused_upon_creation
        return Dag(
            dag_id=c.spec.dag_id,
            file=self.file,
            is_paused=settings.DAGS_ARE_PAUSED_AT_CREATION if wish is None else wish,
            created_at=self.now,
            last_parsed_time=self.now,
            last_parse_duration=self.result.duration,
        )

    def _owned(self, candidates: dict[str, _Candidate], rows: dict[str, Dag]) -> dict[str, _Candidate]:
        """Candidates that this file may have; problems for those another file has."""
        mine = {}
        for dag_id, c in candidates.items():
            owner = rows[dag_id].file
            if owner is None or owner.pk == self.file.pk or rows[dag_id].is_stale or not _exists(owner.path):
                mine[dag_id] = c
                continue
            self.errors.append(
                ParseProblem(
                    f"DAG {dag_id} is already defined in {owner.relative_path}, which keeps it. "
                    "Give one of them another id, or remove one.",
                    dag_id=dag_id,
                )
            )
        return mine

    def _update(self, mine: dict[str, _Candidate], rows: dict[str, Dag], stored: Stored) -> None:
        parsed = []
        for dag_id, c in mine.items():
            dag = rows[dag_id]
            self.before[dag_id] = _state(dag)
            for name, value in c.columns.items():
                setattr(dag, name, value)
            dag.file = self.file
            dag.bundle_name = self.file.bundle_name
            dag.bundle_version = self.facts.bundle_version
            dag.has_import_errors = any(e.dag_id == dag_id for e in self.errors)
            spec_hash = self.result.hashes.get(dag_id) or c.spec.structure_hash()
            source = self.result.sources.get(c.spec.fileloc, "")
            parsed.append(versions.Parsed(dag, c.raw, spec_hash, source, self.result.content_hash))
        hashes = {dag_id: d.current_version.spec_hash for dag_id in mine if (d := rows[dag_id]).current_version}
        created = set(stored.created)
        refused = versions.store_versions(parsed, self.now)
        for p in parsed:
            dag = p.dag
            back, dag.is_stale = dag.is_stale, False
            self._plan(dag, anew=back or dag.dag_id in created)
            if dag.dag_id in created:
                self._tell("created", dag.dag_id)
                continue
            changed = self._save(dag) or (hashes.get(dag.dag_id) != p.spec_hash and dag.dag_id not in refused)
            if back:
                self._tell("back", dag.dag_id)
            elif changed:
                self._tell("updated", dag.dag_id)
                stored.updated.append(dag.dag_id)
        new = [rows[dag_id] for dag_id in stored.created]  # in id order: two inserts cannot wait for each other
        old = [p.dag for p in parsed if p.dag.dag_id not in created]
        if old:
            Dag.objects.filter(pk__in=[d.pk for d in old]).update(
                last_parsed_time=self.now, last_parse_duration=self.result.duration
            )
        Dag.objects.bulk_create(new, batch_size=200)
        _replace_tags({dag_id: c.spec.tags for dag_id, c in mine.items()}, [d.pk for d in old])
        problems.replace_warnings(new, old, [*self.result.warnings, *map(_varying, refused)], self.now)
        other = {d for d in mine if hashes.get(d) != rows[d].current_version.spec_hash or self.before[d]["is_stale"]}  # type: ignore[union-attr]
        assets.store({dag_id: mine[dag_id].spec for dag_id in mine if dag_id in other}, created, self.now)

    def _plan(self, dag: Dag, *, anew: bool) -> None:
        """The next run, when the schedule is new or there is none."""
        old = self.before[dag.dag_id]
        anew = anew or any(getattr(dag, name) != old[name] for name in flatten.SCHEDULE_COLUMNS)
        if dag.dag_id in self.result.planned:
            outdated = self.file.reparse_requested_at and self.file.reparse_requested_at > self.facts.started
            if (anew or dag.next_run_after is None) and not outdated:
                next_runs.set_planned(dag, self.result.planned[dag.dag_id])
        elif anew:
            last = None if old["current_version_id"] is None else hooks.last_automated_interval(dag.dag_id)
            next_runs.schedule_next(dag, last, self.now)

    def _save(self, dag: Dag) -> bool:
        """Write the columns that differ. True if any did."""
        after, before = _state(dag), self.before[dag.dag_id]
        names = [name for name, value in after.items() if value != before[name]]
        if names:
            dag.save(update_fields=names)
        return bool(names)

    def _judge_absent(self, absent: list[Dag], grace: Collection[str] | None, stored: Stored) -> None:
        """DAGs of this file that the parse did not deliver."""
        if self.result.errors:
            broken = [dag.dag_id for dag in absent if not dag.has_import_errors and not dag.is_stale]
            Dag.objects.filter(pk__in=broken).update(has_import_errors=True)
            if broken:
                self.verbs["broken"] = broken
            return
        # DAGs that were delivered but could not be stored are broken, not gone
        refused = {e.dag_id for e in self.errors}
        here = [dag for dag in absent if dag.dag_id in refused and not dag.has_import_errors]
        Dag.objects.filter(pk__in=[d.dag_id for d in here]).update(has_import_errors=True)
        gone = [dag.dag_id for dag in absent if not dag.is_stale and dag.dag_id not in refused]
        stored.stale = [dag_id for dag_id in gone if grace is None or dag_id in grace]
        stored.missing = [dag_id for dag_id in gone if dag_id not in stored.stale]
        make_stale(stored.stale)

    def _save_file(self, count: int) -> None:
        """How the parse went. A request that came while it ran stays."""
        DagFile.objects.filter(pk=self.file.pk).update(
            mtime=self.facts.mtime,
            size=self.facts.size,
            content_hash=self.result.content_hash,
            last_parsed_at=self.now,
            last_duration=self.result.duration,
            seen_at=self.now,
            dag_count=count,
            reparse_requested_at=Case(
                When(reparse_requested_at__gt=self.facts.started, then=F("reparse_requested_at")),
                default=Value(None),
            ),
        )

    def _tell(self, verb: str, dag_id: str) -> None:
        self.verbs.setdefault(verb, []).append(dag_id)


def _check_executors(spec: DagSpec) -> None:
    """Tasks name executors that this site has; ValueError says which does not, and what there is."""
    for name in dict.fromkeys(t.executor for t in spec.tasks if t.executor):
        if problem := registry.unknown(name, settings.EXECUTORS):
            raise ValueError(f"task {next(t.task_id for t in spec.tasks if t.executor == name)}: {problem}")


def make_stale(dag_ids: Collection[str]) -> None:
    """Mark DAGs as gone and tell; call it in a transaction."""
    if dag_ids:
        Dag.objects.filter(pk__in=dag_ids).update(is_stale=True, has_import_errors=False)
        assets.dags_gone(dag_ids, timezone.now())
        hooks.dag_changed(dag_ids, "stale")


def _state(dag: Dag) -> dict[str, Any]:
    """The columns a parse may change."""
    return {
        f.attname: getattr(dag, f.attname)
        for f in Dag._meta.concrete_fields
        if f.attname not in ("dag_id", "last_parsed_time", "last_parse_duration", "created_at", "is_paused")
    }


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        return True  # not known to be gone


def _varying(dag_id: str) -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "kind": problems.VARYING,
        "message": (
            f"The DAG came out differently {versions.INFLATION_LIMIT} times within an hour although its file did not "
            "change, so new versions are not stored for now. Remove values that vary at every parse (the current time, "
            "random numbers, the order of a set)."
        ),
    }


def _replace_tags(wanted: dict[str, list[str]], old: list[str]) -> None:
    """Make the tags of these DAGs what their files say; those in `old` may have some."""
    left = {(dag_id, tag[:100]) for dag_id, tags in wanted.items() for tag in tags}
    for pk, dag_id, name in DagTag.objects.filter(dag_id__in=old).values_list("pk", "dag_id", "name"):
        if (dag_id, name) in left:
            left.remove((dag_id, name))
        else:
            DagTag.objects.filter(pk=pk).delete()
    if left:
        DagTag.objects.bulk_create([DagTag(dag_id=d, name=n) for d, n in sorted(left)], ignore_conflicts=True)
