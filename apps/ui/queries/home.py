"""Home: what fails or is stuck by cause, what runs now, what does not load, whether the machine is well, and the lanes of the day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from apps.access import policy
from apps.dags.models import ImportProblem
from apps.runs.models import Process, Run
from apps.ui import words
from apps.ui.queries import dags as dag_queries
from apps.ui.queries import lanes
from apps.ui.queries.causes import causes

KINDS = (
    ("scheduler", lazy("Scheduler"), lazy("decides what runs")),
    ("dag_processor", lazy("DAG processor"), lazy("reads DAG files")),
    ("worker", lazy("Workers"), lazy("run tasks")),
    ("triggerer", lazy("Triggerer"), lazy("waits for events")),
)
SHOWN = 12


def board(user: Any) -> dict[str, Any]:
    """Everything on the page: fourteen statements."""
    now = timezone.now()
    known = lanes.look(user, now)
    visible = Run.objects.filter(policy.visible_dags(user, "dag"))
    running = list(visible.filter(state__in=("running", "queued")).select_related("dag").order_by("state", "start_date", "id")[:SHOWN])
    progress = _progress([r.pk for r in running])
    waiting = dag_queries.telling_tasks([r.pk for r in running])
    problems = list(ImportProblem.objects.select_related("file").order_by("-at")[:SHOWN])
    day = visible.filter(run_after__gte=now - timedelta(hours=24), run_after__lte=now).aggregate(
        total=Count("id"), failed=Count("id", filter=Q(state="failed")), going=Count("id", filter=Q(state="running"))
    )
    return {
        "causes": causes(known.values(), now),
        "running": [{"run": r, "done": progress.get(r.pk, (0, 0)), "why": waiting.get(r.pk, ("", r.reason or ""))} for r in running],
        "problems": problems,
        "health": _health(len(problems)),
        "day": day,
        **lanes.board(user, now, known),
    }


def _progress(run_pks: list[int]) -> dict[int, tuple[int, int]]:
    """(finished, all) task instances per run."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT run_id, count(*) FILTER (WHERE state IN ('success','failed','skipped','upstream_failed','removed')), count(*)
            FROM runs_taskinstance WHERE run_id = ANY(%s) GROUP BY run_id
            """,
            [run_pks],
        )
        return {pk: (done, total) for pk, done, total in cursor.fetchall()}


def _health(problems: int) -> list[dict[str, Any]]:
    """One entry per kind of process: how many answer, and what it means when none does."""
    now = timezone.now()
    alive: dict[str, list[Process]] = {}
    for process in Process.objects.filter(ended_at=None, lease_until__gt=now - timedelta(minutes=10)).only(
        "kind", "lease_until", "slots", "heartbeat_at"
    ):
        alive.setdefault(process.kind, []).append(process)
    entries = []
    for kind, name, what in KINDS:
        known = alive.get(kind, [])
        living = [p for p in known if p.lease_until > now]
        text = _("%(some)s of %(all)s") % {"some": len(living), "all": len(known)} if known else _("none")
        if kind == "worker" and living:
            text = words.plural(sum(p.slots for p in living), "slot")
        needed = kind != "triggerer"
        state = (
            "success"
            if living and len(living) == len(known)
            else "failed"
            if not living and needed
            else "up_for_retry"
            if known
            else "none"
        )
        hint = what if living else _("start one: manage.py %(kind)s") % {"kind": kind} if needed else _("only deferred tasks need one")
        entries.append({"state": state, "name": name, "value": text, "hint": hint})
    state = "failed" if problems else "success"
    entries.append(
        {
            "state": state,
            "name": _("DAG files"),
            "value": words.plural(problems, "error") if problems else _("all load"),
            "hint": _("import errors"),
        }
    )
    return entries
