"""Runs: lists of them, one of them with its tasks, its Gantt and its events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from apps.access import policy
from apps.runs.errors import NotFound
from apps.runs.models import Event, Run, TaskInstance
from apps.ui import words
from apps.ui.queries import structure as structures
from apps.ui.queries.structure import Structure

PAGE = 50
TASKS_SHOWN = 250
"""Tasks per page of a run: 0.8 kB each."""
STATE_ORDER = (
    "success", "running", "restarting", "queued", "scheduled", "up_for_retry", "up_for_reschedule", "deferred",
    "awaiting_input", "failed", "upstream_failed", "skipped", "removed", "none",
)  # fmt: skip


def get(dag_id: str, run_id: str) -> Run:
    """The run, with DAG and version; raises NotFound."""
    run = (
        Run.objects.filter(dag_id=dag_id, run_id=run_id)
        .select_related("dag", "dag_version")
        .defer("dag_version__spec", "dag_version__source")
        .first()
    )
    if run is None:
        raise NotFound(f"DAG {dag_id} has no run {run_id}. It may have been deleted; its DAG page lists the runs that exist.")
    return run


def recent(
    user: Any, *, dag_id: str | None = None, state: str = "", run_type: str = "", before: int | None = None
) -> tuple[list[Run], int | None]:
    """A page of runs, newest first, and the key of the next page. Two statements."""
    runs: QuerySet[Run] = (
        Run.objects.filter(policy.visible_dags(user, "dag"))
        .select_related("dag", "dag_version")
        .defer("dag_version__spec", "dag_version__source")
    )
    if dag_id:
        runs = runs.filter(dag_id=dag_id)
    if state:
        runs = runs.filter(state=state)
    if run_type:
        runs = runs.filter(run_type=run_type)
    offset = before or 0
    found = list(runs.order_by("-run_after", "-id")[offset : offset + PAGE + 1])
    return found[:PAGE], offset + PAGE if len(found) > PAGE else None


def counts(run_pks: list[int]) -> dict[int, list[tuple[str, int]]]:
    """Number of task instances per state for each run, in display order."""
    found: dict[int, list[tuple[str, int]]] = {}
    for pk, state, n in TaskInstance.objects.filter(run__in=run_pks).values_list("run_id", "state").annotate(n=Count("id")):
        found.setdefault(pk, []).append((state, n))
    for per_run in found.values():
        per_run.sort(key=lambda pair: STATE_ORDER.index(pair[0]) if pair[0] in STATE_ORDER else 99)
    return found


@dataclass(slots=True)
class TaskLine:
    """One task of a run; mapped tasks are folded into one line."""

    task_id: str
    label: str
    depth: int
    operator: str
    state: str
    count: int
    states: list[tuple[str, int]]
    reason: str
    queued: datetime | None
    start: datetime | None
    end: datetime | None
    try_number: int
    pk: int | None
    note: str = ""

    @property
    def prefix(self) -> str:
        """The groups around it, as part of its id: `extract.shop_eu.`; empty at the top."""
        return self.task_id.removesuffix(self.label) if self.depth and self.task_id.endswith(self.label) else ""

    @property
    def seconds(self) -> float | None:
        """From first start to last end, or to now; None for what was never tried."""
        return ((self.end or timezone.now()) - self.start).total_seconds() if self.start and self.try_number else None


def task_lines(run: Run, structure: Structure | None) -> list[TaskLine]:
    """The run's tasks in the order of its version; those without a start last among equals. One statement."""
    columns = ("task_id", "map_index", "state", "reason", "queued_at", "start_date", "end_date", "try_number", "id", "operator", "note")
    by_task: dict[str, list[tuple[Any, ...]]] = {}
    for row in TaskInstance.objects.filter(run=run).order_by("id").values_list(*columns):
        by_task.setdefault(row[0], []).append(row)
    order = {task_id: k for k, task_id in enumerate(structure.task_ids)} if structure else {}
    lines = [_task_line(task_id, rows, structure) for task_id, rows in by_task.items()]
    return sorted(lines, key=lambda t: (order.get(t.task_id, len(order)), t.task_id))


def _task_line(task_id: str, rows: list[tuple[Any, ...]], structure: Structure | None) -> TaskLine:
    states: dict[str, int] = {}
    for row in rows:
        states[row[2]] = states.get(row[2], 0) + 1
    state = words.worst(set(states))
    telling = next((r for r in rows if r[2] == state and r[3]), rows[0])
    starts, ends = [r[5] for r in rows if r[5]], [r[6] for r in rows]
    single = len(rows) == 1 and rows[0][1] < 0
    return TaskLine(
        task_id=task_id,
        label=structure.labels.get(task_id, task_id) if structure else task_id,
        depth=min(structure.depths.get(task_id, 0), 4) if structure else 0,
        operator=rows[0][9],
        state=state,
        count=0 if single else len(rows),
        states=sorted(states.items(), key=lambda p: STATE_ORDER.index(p[0])),
        reason=telling[3] or "",
        queued=min((r[4] for r in rows if r[4]), default=None),
        start=min(starts, default=None),
        end=max((e for e in ends if e), default=None) if all(ends) else None,
        try_number=max(r[7] for r in rows),
        pk=rows[0][8] if single else None,
        note=next((r[10] for r in rows if r[10]), "") or "",
    )


def gantt(run: Run, lines: list[TaskLine]) -> dict[str, Any]:
    """Bars in per cent of the run's span: waiting (queued to start) and running (start to end)."""
    now = timezone.now()
    began = min([t.queued or t.start for t in lines if t.queued or t.start] + ([run.start_date] if run.start_date else []), default=None)  # type: ignore[type-var]
    if began is None:
        return {"bars": [], "ticks": []}
    ended = max([t.end or now for t in lines if t.start] + ([run.end_date] if run.end_date else []), default=now)
    span = max((ended - began).total_seconds(), 1.0)

    def x(moment: datetime) -> float:
        return round(max(0.0, min(100.0, (moment - began).total_seconds() / span * 100)), 3)

    bars = []
    for t in sorted(lines, key=lambda t: (t.start or t.queued or ended, t.task_id)):
        entry: dict[str, Any] = {"task": t, "wait": None, "run": None}
        if t.start:
            stop = t.end or now
            entry["run"] = (x(t.start), max(0.25, round(x(stop) - x(t.start), 3)))
            if t.queued and (t.start - t.queued).total_seconds() > span / 200:
                entry["wait"] = (x(t.queued), max(0.2, round(x(t.start) - x(t.queued), 3)))
        bars.append(entry)
    return {"bars": bars, "ticks": _ticks(began, span), "span": span}


def _ticks(began: datetime, span: float) -> list[dict[str, Any]]:
    """Round distances from the start, six at most: `+2 min`."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
    step = next((s for s in steps if span / s <= 6), 86_400 * max(1, round(span / 86_400 / 6)))
    return [
        {"x": round(k * step / span * 100, 3), "text": words.rough(k * step) if k else words.clock(began)}
        for k in range(int(span // step) + 1)
    ]


def version_structure(run: Run) -> Structure | None:
    """The structure that this run uses."""
    if run.dag_version is not None:
        return structures.of_version(run.dag_version.pk, run.dag_version.spec_hash)
    return None


def events(run: Run, limit: int = 60) -> list[Event]:
    """What happened to this run, newest first. Sentences that changed are for live pages only."""
    return list(Event.objects.filter(run_pk=run.pk).exclude(verb="explain").order_by("-id")[:limit])


LOOKED = 20
"""Runs beside one that are looked through for the same task; a DAG that lost the task longer ago has no neighbour."""


def neighbours_with(run: Run, task_id: str, map_index: int) -> list[tuple[str, bool] | None]:
    """Of the previous and the next run that have the task: (run id, whether it has that map index, too). Two statements."""
    here = TaskInstance.objects.filter(run=OuterRef("pk"), task_id=task_id)
    same = Run.objects.filter(dag_id=run.dag_id).annotate(has=Exists(here), exact=Exists(here.filter(map_index=map_index)))
    found: list[tuple[str, bool] | None] = []
    before = Q(run_after__lt=run.run_after) | Q(run_after=run.run_after, pk__lt=run.pk)
    after = Q(run_after__gt=run.run_after) | Q(run_after=run.run_after, pk__gt=run.pk)
    sides = (
        (before, Q(run_after__lte=run.run_after), ("-run_after", "-id")), (after, Q(run_after__gte=run.run_after), ("run_after", "id")),
    )  # fmt: skip
    for rest, bound, order in sides:  # the bound is what the index knows
        beside = same.filter(bound, rest).order_by(*order).values_list("run_id", "has", "exact")[:LOOKED]
        found.append(next(((run_id, exact) for run_id, has, exact in beside if has), None))
    return found


def neighbours(run: Run) -> tuple[str | None, str | None]:
    """Run ids of the previous and the next run of the DAG. Two statements."""
    same = Run.objects.filter(dag_id=run.dag_id).values_list("run_id", flat=True)
    key = (run.run_after, run.pk)
    older = same.extra(where=["(run_after, id) < (%s, %s)"], params=key).order_by("-run_after", "-id").first()
    newer = same.extra(where=["(run_after, id) > (%s, %s)"], params=key).order_by("run_after", "id").first()
    return older, newer
