"""The list of DAGs: what matters of each in one line, with a fixed number of statements for any number of rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.access import policy
from apps.dags.models import Dag, DagFavorite, DagTag
from apps.runs.models import Run, TaskInstance
from apps.ui import words

PAGE = 100
BARS = 14
VIEWS = ("all", "starred", "failing", "running", "paused")


@dataclass(slots=True)
class DagLine:
    """One row of the list."""

    dag: Dag
    tags: list[str]
    runs: list[dict[str, Any]] = field(default_factory=list)
    """Oldest first: state, seconds."""
    last: dict[str, Any] | None = None
    note: str = ""
    note_task: str = ""
    usual: float | None = None
    next_text: str = ""
    next_at: datetime | None = None
    next_tone: str = "t2"


@dataclass(slots=True)
class DagList:
    """The page's rows, and how many each view holds."""

    lines: list[DagLine]
    total: int
    counts: dict[str, int]
    tags: list[str]
    offset: int

    @property
    def whole(self) -> bool:
        """Everything that matches is on this page."""
        return len(self.lines) == self.total

    @property
    def awake(self) -> int:
        """How many of this page are not paused."""
        return sum(not line.dag.is_paused for line in self.lines)


def visible(user: Any) -> QuerySet[Any, Any]:
    """DAGs that exist and that the person may read, each with the state of its newest run and whether it is starred."""
    starred = DagFavorite.objects.filter(dag=OuterRef("pk"), user_id=user.pk)
    newest = Run.objects.filter(dag=OuterRef("pk")).order_by("-run_after", "-id").values("state")[:1]
    return Dag.objects.filter(policy.visible_dags(user), is_stale=False).annotate(last_state=Subquery(newest), starred=Exists(starred))


def listing(user: Any, *, view: str = "all", search: str = "", tag: str = "", offset: int = 0) -> DagList:
    """One page of the list: seven statements."""
    base = visible(user)
    states = list(base.values_list("last_state", "is_paused", "starred"))
    counts = {
        "all": len(states),
        "starred": sum(starred for _, _, starred in states),
        "failing": sum(s == "failed" for s, _, _ in states),
        "running": sum(s in ("running", "queued") for s, _, _ in states),
        "paused": sum(paused for _, paused, _ in states),
    }
    wanted = matching(base, view=view, search=search, tag=tag)
    total = wanted.count()
    dags = list(wanted.order_by("dag_id").defer("description", "timetable")[offset : offset + PAGE])
    tags = list(DagTag.objects.filter(dag__is_stale=False).values_list("name", flat=True).distinct().order_by("name"))
    return DagList(lines(dags), total, counts, tags, offset)


def matching(wanted: QuerySet[Any, Any], *, view: str = "all", search: str = "", tag: str = "") -> QuerySet[Any, Any]:
    """What of `visible` a list with these filters holds."""
    if view == "starred":
        wanted = wanted.filter(starred=True)
    elif view == "failing":
        wanted = wanted.filter(last_state="failed")
    elif view == "running":
        wanted = wanted.filter(last_state__in=("running", "queued"))
    elif view == "paused":
        wanted = wanted.filter(is_paused=True)
    if search:
        words_of = Q(dag_id__icontains=search) | Q(dag_display_name__icontains=search) | Q(description__icontains=search)
        wanted = wanted.filter(
            words_of | Q(owners__contains=[search]) | Q(pk__in=DagTag.objects.filter(name__icontains=search).values("dag_id"))
        )
    if tag:
        wanted = wanted.filter(pk__in=DagTag.objects.filter(name=tag).values("dag_id"))
    return wanted


def lines(dags: Iterable[Dag]) -> list[DagLine]:
    """Tags, last runs and reasons for these DAGs: three statements."""
    dags = list(dags)
    ids = [d.dag_id for d in dags]
    tags: dict[str, list[str]] = {}
    for dag_id, name in DagTag.objects.filter(dag__in=ids).order_by("name").values_list("dag_id", "name"):
        tags.setdefault(dag_id, []).append(name)
    runs = last_runs(ids, BARS)
    open_runs = [rs[-1]["id"] for rs in runs.values() if rs[-1]["state"] in ("failed", "running", "queued")]
    notes = telling_tasks(open_runs)
    now = timezone.now()
    return [_line(d, tags.get(d.dag_id, []), runs.get(d.dag_id, []), notes, now) for d in dags]


def _line(dag: Dag, tags: list[str], runs: list[dict[str, Any]], notes: dict[int, tuple[str, str]], now: datetime) -> DagLine:
    line = DagLine(dag, tags, runs)
    if runs:
        line.last = runs[-1]
        line.usual = words.usual([r["seconds"] for r in runs if r["state"] == "success" and r["seconds"]])
        line.note_task, line.note = notes.get(runs[-1]["id"], ("", ""))
        line.note = runs[-1]["reason"] or line.note if runs[-1]["state"] != "running" else line.note
    line.next_text, line.next_at, line.next_tone = next_run(dag, now)
    return line


def next_run(dag: Dag, now: datetime) -> tuple[str, datetime | None, str]:
    """When it runs next, in words: (text, moment if one is known, tone)."""
    if dag.has_import_errors:
        return _("does not load"), None, "bad"
    if dag.is_paused:
        return _("paused"), None, "t3"
    if dag.next_run_after is None:
        return (_("on demand") if dag.timetable_summary in (None, "None", "") else _("by event")), None, "t3"
    late = (now - dag.next_run_after).total_seconds()
    if late > (0 if dag.blocked_reason else 30):
        return _("%(time)s late") % {"time": words.rough(late)}, dag.next_run_after, "warn"
    return words.relative(dag.next_run_after, now), dag.next_run_after, "t2"


def last_runs(dag_ids: list[str], count: int) -> dict[str, list[dict[str, Any]]]:
    """The newest runs of each DAG, oldest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    if not dag_ids:
        return found
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT d.dag_id, r.id, r.run_id, r.state, r.run_after, r.start_date, r.end_date, r.reason,
                   extract(epoch FROM coalesce(r.end_date, now()) - r.start_date)::float8
            FROM unnest(%s::text[]) AS d(dag_id) CROSS JOIN LATERAL (
              SELECT * FROM runs_run r WHERE r.dag_id = d.dag_id ORDER BY r.run_after DESC, r.id DESC LIMIT %s
            ) r ORDER BY r.run_after, r.id
            """,
            [dag_ids, count],
        )
        for dag_id, pk, run_id, state, run_after, start, end, reason, seconds in cursor.fetchall():
            found.setdefault(dag_id, []).append(
                {
                    "id": pk,
                    "run_id": run_id,
                    "state": state,
                    "run_after": run_after,
                    "start": start,
                    "end": end,
                    "reason": reason,
                    "seconds": seconds,
                }
            )
    return found


def telling_tasks(run_pks: list[int]) -> dict[int, tuple[str, str]]:
    """For each run the one task that explains its state: (task id, reason). Failed first, then what waits, then what runs."""
    if not run_pks:
        return {}
    rank = {
        "failed": 0,
        "awaiting_input": 1,
        "up_for_retry": 2,
        "queued": 3,
        "scheduled": 4,
        "deferred": 5,
        "up_for_reschedule": 6,
        "running": 7,
    }
    found: dict[int, tuple[int, str, str]] = {}
    rows = (
        TaskInstance.objects.filter(run__in=run_pks, state__in=list(rank))
        .order_by("run_id", "state", "id")
        .distinct("run_id", "state")
        .values_list("run_id", "state", "task_id", "reason")
    )
    for run_pk, state, task_id, reason in rows:
        told = (rank[state], task_id, reason or words.said(state))
        found[run_pk] = min(found.get(run_pk, told), told)
    return {k: (task, reason) for k, (_, task, reason) in found.items()}
