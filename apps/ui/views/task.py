"""One task of one run: the error in one line, facts of the try, its log and what it left."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.runs.models import Run, TaskInstance, Try
from apps.ui import logview, words
from apps.ui.crumbs import Crumb, of_dag, of_run
from apps.ui.live import cursor
from apps.ui.page import page, show
from apps.ui.queries import places
from apps.ui.queries import runs as run_queries
from apps.ui.queries import tasks as queries
from trackside.core.states import FINISHED, TRY_ENDED

PANEL_LINES = 30


def _index(request: HttpRequest) -> int | None:
    text = request.GET.get("map_index", "")
    return int(text) if text.lstrip("-").isdigit() else None


def _facts(request: HttpRequest, run: Run, ti: TaskInstance) -> dict[str, Any]:
    """What page and panel share: two statements beside run and task instance."""
    tries = queries.tries(ti)
    for t in tries:
        t.shown_state = t.final_state or (ti.state if t.pk == ti.try_id else t.state)  # type: ignore[attr-defined]
    chosen = queries.choose(tries, request.GET.get("try"))
    current = chosen is None or chosen.pk == ti.try_id
    start, end = (chosen.start_date, chosen.end_date) if chosen else (ti.start_date, ti.end_date)
    waited = (chosen.start_date - chosen.queued_at).total_seconds() if chosen and chosen.start_date else None
    return {
        "run": run, "dag": run.dag, "ti": ti, "tries": tries, "chosen": chosen, "shown_start": start, "shown_end": end,
        "waited": max(0.0, waited) if waited is not None else None, "usual": queries.usual_seconds(ti),
        "calm": ti.state in FINISHED, "map_index": ti.map_index, **_why(ti, chosen, current),
    }  # fmt: skip


def _why(ti: TaskInstance, chosen: Try | None, current: bool) -> dict[str, str]:
    """The sentence on top: the error of the chosen try, then the reason of the task."""
    error = chosen.error if chosen and chosen.error else ""
    reason = (ti.reason or "") if current else (chosen.retry_reason or "" if chosen else "")
    state = ti.state if current else (chosen.final_state or chosen.state if chosen else ti.state)
    if error and reason and reason not in error and error not in reason:
        return {"why_bold": error, "why": reason, "why_state": state}
    return {"why_bold": "", "why": error or reason, "why_state": state}


@page(read="task")
def task(request: HttpRequest, dag_id: str, run_id: str, task_id: str) -> HttpResponse:
    """`?map_index=`, `?try=` and `?tab=` choose what is shown."""
    position = cursor.take()
    run = run_queries.get(dag_id, run_id)
    ti = queries.get(run, task_id, _index(request))
    facts = _facts(request, run, ti)
    chosen = facts["chosen"]
    mapped, mapped_counts = queries.siblings(run, task_id) if ti.map_index >= 0 else ([], [])
    xcoms = queries.xcoms(ti)
    tab = request.GET.get("tab", "log")
    tabs: list[tuple[str, str, int | None]] = [
        ("log", _("Log"), None),
        ("xcom", "XCom", len(xcoms)),
        ("rendered", _("Rendered"), None),
        ("details", _("Details"), None),
    ]
    pod = places.pod(chosen)
    if pod:
        tabs.insert(3, ("pod", _("Pod"), None))
    if mapped:
        tabs.insert(1, ("mapped", _("Mapped"), sum(n for _, n in mapped_counts)))
    tab = tab if tab in [t[0] for t in tabs] else "log"
    if tab == "xcom":
        queries.draw(xcoms)
    context = {
        **facts, "cursor": position, "tab": tab, "tabs": tabs, "xcoms": xcoms, "mapped": mapped, "mapped_counts": mapped_counts,
        "log": logview.first(chosen) if chosen and tab == "log" else None,
        "rendered": queries.rendered(ti, chosen) if tab == "rendered" else [],
        "details": _details(ti, chosen) if tab == "details" else [],
        "pod": pod, "beside": _beside(request, run, ti, facts["tries"], chosen),
    }  # fmt: skip
    name = task_id + (f" [{ti.map_index}]" if ti.map_index >= 0 else "")
    crumbs = [
        Crumb("DAGs", reverse("dags")), of_dag(dag_id),
        of_run(run, task=task_id, map_index=ti.map_index if ti.map_index >= 0 else "", tab=tab if tab != "log" else ""), Crumb(name),
    ]  # fmt: skip
    return show(request, "ui/task.html", context, nav="dags", title=f"{name} log" if tab == "log" else name, crumbs=crumbs)


def _beside(request: HttpRequest, run: Run, ti: TaskInstance, tries: list[Try], chosen: Try | None) -> dict[str, tuple[str, str]]:
    """Where `[` and `]` lead: (address, name) of the older and newer try, or else of the same task in the run before and after."""
    numbers = [t.number for t in tries]
    at = numbers.index(chosen.number) if chosen else -1
    around: dict[str, tuple[str, str]] = {}
    tab = {"tab": tab} if (tab := request.GET.get("tab", "")) else {}
    names = (
        ("older", at - 1, _("Older try"), _("The task in the run before")),
        ("newer", at + 1, _("Newer try"), _("The task in the run after")),
    )  # fmt: skip
    for (where, k, try_name, run_name), beside in zip(names, run_queries.neighbours_with(run, ti.task_id, ti.map_index), strict=True):
        index = {"map_index": str(ti.map_index)} if ti.map_index >= 0 else {}
        if chosen and 0 <= k < len(numbers):
            around[where] = (f"?{urlencode({**index, **tab, 'try': numbers[k]})}", try_name)
        elif beside is not None:
            query = urlencode({**(index if beside[1] else {}), **tab})
            around[where] = (reverse("task", args=[run.dag_id, beside[0], ti.task_id]) + (f"?{query}" if query else ""), run_name)
    return around


def _details(ti: TaskInstance, chosen: Try | None) -> list[tuple[str, str]]:
    facts = [
        (_("Task instance"), str(ti.pk)), (_("Try id"), str(chosen.pk if chosen else ti.try_id)), (_("Operator"), ti.operator),
        (_("Pool"), f"{ti.pool}, {words.plural(ti.pool_slots, 'slot')}"),
        (_("Queue"), ti.queue), (_("Executor"), (chosen.executor if chosen else ti.executor) or _("default")),
        (_("Priority weight"), str(ti.priority_weight)),
        (_("Host"), chosen.hostname if chosen else ti.hostname), (_("Process"), str((chosen.pid if chosen else ti.pid) or "–")),
        (_("User on the host"), ti.unixname or "–"),
        (_("Infrastructure failures"), str(ti.infra_failures)), (_("Reschedules"), str(ti.reschedules)),
    ]  # fmt: skip
    moments = [
        (_("Scheduled"), ti.scheduled_at),
        (_("Queued"), chosen.queued_at if chosen else ti.queued_at),
        (_("Last heartbeat"), chosen.heartbeat_at if chosen else None),
    ]
    facts += [(name, words.full(at)) for name, at in moments if at]
    facts += places.facts(chosen)
    if ti.note:
        facts.append((_("Note"), ti.note))
    return facts


@page(read="task")
def panel(request: HttpRequest, dag_id: str, run_id: str, task_id: str) -> HttpResponse:
    """The drawer beside the grid, for a task instance (of a mapped task: its worst instance)."""
    run = run_queries.get(dag_id, run_id)
    index = _index(request)
    mapped_counts: list[tuple[str, int]] = []
    if index is None:
        _, mapped_counts = queries.siblings(run, task_id)
        if mapped_counts:
            telling = words.worst({s for s, _ in mapped_counts})
            index = (
                TaskInstance.objects.filter(run=run, task_id=task_id, state=telling)
                .order_by("map_index")
                .values_list("map_index", flat=True)
                .first()
            )
    ti = queries.get(run, task_id, index)
    facts = _facts(request, run, ti)
    href = reverse("task", args=[dag_id, run_id, task_id]) + (f"?map_index={ti.map_index}" if ti.map_index >= 0 else "")
    context = {
        **facts,
        "mapped_counts": mapped_counts,
        "href": href,
        "log": logview.last(facts["chosen"], PANEL_LINES) if facts["chosen"] else {},
    }
    if mapped_counts:
        context["map_index"] = ""
    return render(request, "ui/_panel_task.html", context)


def try_is_over(row: Try) -> bool:
    """Whether nothing can be added to its log by the task any more."""
    return row.state in TRY_ENDED
