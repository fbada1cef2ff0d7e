"""One run, its panel beside the grid, and the list of all runs."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.runs.errors import NotFound
from apps.runs.models import Event, Run
from apps.ui import rights, sentences, words
from apps.ui.crumbs import Crumb, of_dag, of_run
from apps.ui.live import cursor
from apps.ui.page import page, show
from apps.ui.queries import dags as dag_queries
from apps.ui.queries import runs as queries
from apps.ui.queries import usercode, why
from apps.ui.views import saved
from apps.ui.views.dag import run_list

TABS = ("tasks", "gantt", "events")


@page()
def runs(request: HttpRequest) -> HttpResponse:
    """Runs of all DAGs, newest first."""
    elsewhere, default = saved.at_first(request, "runs")
    if elsewhere is not None:
        return elsewhere
    context = {**run_list(request, None), **default}
    return show(request, "ui/runs.html", context, nav="runs", title=_("Runs"), crumbs=[(_("Runs"), "")])


@page(read="run")
def run(request: HttpRequest, dag_id: str, run_id: str) -> HttpResponse:
    """State and reason, share of states, tasks or Gantt or events."""
    position = cursor.take()
    found = queries.get(dag_id, run_id)
    tab = request.GET.get("tab", "tasks")
    tab = tab if tab in TABS else "tasks"
    structure = queries.version_structure(found)
    lines = queries.task_lines(found, structure)
    older, newer = queries.neighbours(found)
    text = request.GET.get("offset", "0")
    offset = int(text) if text.isdecimal() and int(text) < len(lines) else 0
    end = offset + queries.TASKS_SHOWN
    gantt = queries.gantt(found, lines) if tab == "gantt" else None
    if gantt:
        gantt["bars"] = gantt["bars"][offset:end]
    context = {
        **summary(found), "cursor": position, "tab": tab, "lines": lines, "shown": lines[offset:end], "older": older, "newer": newer,
        "same_tab": f"?tab={tab}" if tab != "tasks" else "",
        "chain": why.chain(lines, structure) if found.state != "success" else [],
        "seconds": (found.end_date - found.start_date).total_seconds() if found.start_date and found.end_date else None,
        "gantt": gantt, "offset": offset, "prev_offset": max(0, offset - queries.TASKS_SHOWN), "end": min(end, len(lines)),
        "next_offset": end if end < len(lines) else None,
        "deadlines": usercode.deadlines(found), "callbacks": usercode.callbacks(found),
        "events": [told(e) for e in queries.events(found)] if tab == "events" else [],
    }  # fmt: skip
    crumbs = [
        Crumb("DAGs", reverse("dags")),
        of_dag(dag_id),
        of_run(found, tab=tab if tab != "tasks" else ""),
    ]
    return show(request, "ui/run.html", context, nav="runs", title=f"{dag_id} {words.moment(found.run_after)}", crumbs=crumbs)


@page()
def short(request: HttpRequest, run_pk: int) -> HttpResponse:
    """The run of that number: a short address for lists that link thousands of runs. It leads to the run's page."""
    found = Run.objects.filter(pk=run_pk).only("dag_id", "run_id").first()
    if found is None or not rights.allowed(request.user, "read", "run", found.dag_id):
        raise NotFound(_("That run is gone."))  # the same words for both: numbers can be guessed, names of DAGs must not come back
    return redirect("run", found.dag_id, found.run_id)


def summary(found: Run) -> dict[str, Any]:
    """What page and panel share: two statements."""
    task, reason = dag_queries.telling_tasks([found.pk]).get(found.pk, ("", "")) if found.state != "success" else ("", "")
    counts = queries.counts([found.pk]).get(found.pk, [])
    return {
        "run": found, "dag": found.dag, "counts": counts, "why_task": task, "why": _sentence(reason),
        "why_state": "failed" if found.state == "running" and any(state == "failed" for state, _ in counts) else found.state,
        "conf": json.dumps(found.conf, indent=2, ensure_ascii=False) if found.conf else "",
    }  # fmt: skip


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def told(event: Event) -> Event:
    """One event in words."""
    state = event.payload.get("state")
    tis = event.payload.get("tis") or []
    verb = words.said(state) if state else event.verb.replace("_", " ")
    if event.kind == "run":
        event.text = _("Run %(verb)s") % {"verb": verb}  # type: ignore[attr-defined]
    elif tis:
        name = str(tis[0][1]) + (f" [{tis[0][2]}]" if tis[0][2] >= 0 else "")
        event.text = f"{name} {verb}" if len(tis) == 1 else f"{words.plural(len(tis), 'task')} {verb}"  # type: ignore[attr-defined]
        event.more = sentences.listed([str(t[1]) for t in tis], 5) if len(tis) > 1 else ""  # type: ignore[attr-defined]
    else:
        event.text = f"{event.kind} {verb}"  # type: ignore[attr-defined]
    return event


@page(read="run")
def panel(request: HttpRequest, dag_id: str, run_id: str) -> HttpResponse:
    """The drawer beside the grid, for a run."""
    return render(request, "ui/_panel_run.html", summary(queries.get(dag_id, run_id)))
