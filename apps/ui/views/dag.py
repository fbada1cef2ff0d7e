"""One DAG: grid, graph, runs, tasks, details. Next door: `code`, `trends`, `backfills`, `audit` for the other tabs."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from apps.access.models import User
from apps.dags.models import Dag, DagFavorite, DagVersion, DagWarning
from apps.runs.errors import NotFound
from apps.runs.models import Run
from apps.ui import params, words
from apps.ui.crumbs import Crumb, of_dag
from apps.ui.live import cursor
from apps.ui.page import page, show
from apps.ui.queries import calendar as calendars
from apps.ui.queries import dags as dag_queries
from apps.ui.queries import grid as grid_queries
from apps.ui.queries import runs as run_queries
from apps.ui.queries import structure as structures
from apps.ui.queries.structure import Structure
from trackside.core.spec import DagSpec
from trackside.core.states import RunState, RunType

TABLE_RUNS = 10
NO_VERSION = UUID(int=0)

VERSIONS = 100
WAYS = (("LR", lazy("left to right")), ("TB", lazy("top to bottom")), ("RL", lazy("right to left")), ("BT", lazy("bottom to top")))


def get_dag(dag_id: str) -> Dag:
    """The DAG with its version (without its large columns) and the cursor of this reading as `position`; raises NotFound."""
    rows = Dag.objects.select_related("current_version").defer("current_version__spec", "current_version__source")
    dag = rows.annotate(position=cursor.OF_STATEMENT).filter(pk=dag_id).first()
    if dag is None:
        raise NotFound(f"There is no DAG {dag_id}. It may have been deleted, or its file does not load.")
    return dag


def structure_of(dag: Dag) -> Structure | None:
    """Shape of the newest version."""
    return structures.of_version(dag.current_version.pk, dag.current_version.spec_hash) if dag.current_version else None


def head(dag: Dag, tab: str) -> dict[str, Any]:
    """What the top of each tab shows: three statements beside the DAG itself."""
    structure = structure_of(dag)
    runs = dag_queries.last_runs([dag.dag_id], dag_queries.BARS).get(dag.dag_id, [])
    last = runs[-1] if runs else None
    task, why = ("", "")
    if last and last["state"] != "success":
        task, why = dag_queries.telling_tasks([last["id"]]).get(last["id"], ("", ""))
    return {
        "dag": dag,
        "tab": tab,
        "version": dag.current_version,
        "structure": structure,
        "task_count": structure.task_count if structure else 0,
        "has_groups": structure is not None and any(r.is_group for r in structure.rows),
        "tags": list(dag.tags.order_by("name").values_list("name", flat=True)),
        "last": last,
        "why": why or (last["reason"] if last else ""),
        "why_task": task,
        "overdue": dag.next_run_after is not None and dag.next_run_after < timezone.now(),
        "usual": words.usual([r["seconds"] for r in runs if r["state"] == "success" and r["seconds"]]),
    }


TABS = {
    "graph": lazy("Graph"), "calendar": lazy("Calendar"), "runs": lazy("Runs"), "tasks": lazy("Tasks"), "trends": lazy("Trends"),
    "backfills": lazy("Backfills"), "code": lazy("Code"), "details": lazy("Details"), "audit": lazy("Audit"),
}  # fmt: skip
"""Tabs of a DAG beside the grid, as titles and breadcrumbs name them."""


def show_tab(request: HttpRequest, dag: Dag, tab: str, template: str, context: dict[str, Any]) -> HttpResponse:
    """A page under the head and the tabs of the DAG."""
    crumbs = [Crumb("DAGs", reverse("dags")), of_dag(dag.dag_id, "" if tab == "grid" else tab)]
    if tab != "grid":
        crumbs.append(Crumb(str(TABS[tab])))
    return show(
        request,
        template,
        {**head(dag, tab), "starred": _starred(request, dag), **context},
        nav="dags",
        title=f"{dag.dag_id} {TABS[tab]}" if tab != "grid" else dag.dag_id,
        crumbs=crumbs,
    )


@page()
def head_alone(request: HttpRequest, dag_id: str) -> HttpResponse:
    """The top of a tab (`?tab=`) by itself: what an open page asks for when the DAG or a run has changed."""
    dag = get_dag(dag_id)
    return show(request, "ui/_dag_head.html", {**head(dag, request.GET.get("tab", "grid")), "starred": _starred(request, dag)})


def _starred(request: HttpRequest, dag: Dag) -> bool:
    return DagFavorite.objects.filter(dag=dag, user=cast(User, request.user)).exists()


@page()
def grid(request: HttpRequest, dag_id: str) -> HttpResponse:
    """Tasks by runs; `?view=table` is the same without canvas and scripts."""
    dag = get_dag(dag_id)
    table = _table(dag) if request.GET.get("view") == "table" else None
    return show_tab(request, dag, "grid", "ui/dag_grid.html", {"table": table})


def _table(dag: Dag) -> dict[str, Any]:
    data = grid_queries.load(dag.dag_id, structure_of(dag), limit=TABLE_RUNS)
    runs = [{"id": r, "at": at} for r, at in zip(data["runs"]["id"], data["runs"]["at"], strict=True)][::-1]
    moments = dict(Run.objects.filter(dag=dag, run_id__in=[r["id"] for r in runs]).values_list("run_id", "run_after"))
    for run in runs:
        run["at"] = moments.get(run["id"])
    columns = [grid_queries.unpacked(text) for text in reversed(data["cells"])]
    lines = []
    for k, row_id in enumerate(data["rows"]["id"]):
        cells = [
            {"state": grid_queries.STATES.get(column[k]), "run_id": run["id"]} for column, run in zip(columns, runs, strict=True)
        ]  # fmt: skip
        lines.append({"id": row_id, "label": data["rows"]["label"][k], "depth": min(data["rows"]["depth"][k], 4), "cells": cells})
    return {"runs": runs, "rows": lines}


@page()
def graph(request: HttpRequest, dag_id: str) -> HttpResponse:
    """Tasks as a graph, coloured by one run (`?run=`), of one version (`?version=`), in a direction (`?dir=`), with or without
    assets and other DAGs (`?around=0`)."""
    dag = get_dag(dag_id)
    runs = list(Run.objects.filter(dag=dag).order_by("-run_after", "-id").only("run_id", "run_after", "state")[:20])
    run_id = request.GET.get("run", runs[0].run_id if runs else "")
    numbers = [str(n) for n in DagVersion.objects.filter(dag=dag).order_by("-number").values_list("number", flat=True)[:VERSIONS]]
    way, around = request.GET.get("dir", ""), request.GET.get("around") != "0"
    context = {
        "runs": runs, "run_id": run_id, "versions": numbers, "picked": request.GET.get("version", ""), "around": around,
        "ways": WAYS, "way": way if way in dict(WAYS) else "LR",
    }  # fmt: skip
    return show_tab(request, dag, "graph", "ui/dag_graph.html", context)


@page()
def calendar(request: HttpRequest, dag_id: str) -> HttpResponse:
    """Runs per day; planned ones outlined."""
    dag = get_dag(dag_id)
    return show_tab(request, dag, "calendar", "ui/dag_calendar.html", {"weeks": calendars.weeks(dag), "today": timezone.localdate()})


@page()
def runs(request: HttpRequest, dag_id: str) -> HttpResponse:
    """Runs of this DAG, newest first."""
    dag = get_dag(dag_id)
    return show_tab(request, dag, "runs", "ui/dag_runs.html", run_list(request, dag_id))


def run_list(request: HttpRequest, dag_id: str | None) -> dict[str, Any]:
    """Context of a list of runs: three statements."""
    position = cursor.take()
    state, run_type = request.GET.get("state", ""), request.GET.get("type", "")
    text = request.GET.get("offset", "0")
    offset = int(text) if text.isdigit() else 0
    found, following = run_queries.recent(request.user, dag_id=dag_id, state=state, run_type=run_type, before=offset)
    per_state = run_queries.counts([r.pk for r in found])
    return {
        "rows": [{"run": r, "counts": per_state.get(r.pk, [])} for r in found],
        "state": state, "run_type": run_type, "cursor": position, "offset": offset, "next_offset": following,
        "prev_offset": max(0, offset - run_queries.PAGE) or None,
        "run_states": [str(s) for s in RunState], "run_types": [str(t) for t in RunType],
    }  # fmt: skip


@page()
def tasks(request: HttpRequest, dag_id: str) -> HttpResponse:
    """Every task with its rule, retries and what follows; the table behind the graph."""
    dag = get_dag(dag_id)
    version = DagVersion.objects.filter(dag=dag, pk=dag.current_version_id or NO_VERSION).only("spec").first()
    spec = DagSpec.from_dict(version.spec) if version else DagSpec(dag_id)
    structure = structure_of(dag)
    by_id = {t.task_id: t for t in spec.tasks}
    lines = [
        {"id": t.task_id, "label": t.task_id, "depth": 0, "operator": t.operator, "rule": t.trigger_rule, "retries": t.retries,
         "pool": t.pool, "down": t.downstream, "mapped": t.mapped}
        for t in (by_id[task_id] for task_id in (structure.task_ids if structure else ()) if task_id in by_id)
    ]  # fmt: skip
    return show_tab(request, dag, "tasks", "ui/dag_tasks.html", {"tasks": lines})


@page()
def details(request: HttpRequest, dag_id: str) -> HttpResponse:
    """What the file set, versions, warnings, params."""
    dag = get_dag(dag_id)
    version = DagVersion.objects.filter(dag=dag, pk=dag.current_version_id or NO_VERSION).only("spec").first()
    spec = DagSpec.from_dict(version.spec) if version else DagSpec(dag_id)
    context = {
        "facts": _facts(dag, spec),
        "doc": spec.doc_md or dag.description or "",
        "versions": list(dag.versions.order_by("-number").only("number", "created_at", "dag_id")[:50]),
        "warnings": list(DagWarning.objects.filter(dag=dag).order_by("kind")),
        "params": params.fields(spec.params),
    }
    return show_tab(request, dag, "details", "ui/dag_details.html", context)


def _facts(dag: Dag, spec: DagSpec) -> list[tuple[str, str]]:
    def moment(value: Any) -> str:
        return words.full(value, dag.timezone) if value else "–"

    return [
        (_("Schedule"), dag.timetable_description or dag.timetable_summary or _("none")),
        (_("Time zone"), dag.timezone),
        (_("First date"), moment(dag.start_date)),
        (_("Last date"), moment(dag.end_date)),
        (_("Catch up"), _("creates every missed run") if dag.catchup else _("creates only the newest missed run")),
        (_("Active runs at most"), str(dag.max_active_runs)),
        (_("Active tasks at most"), str(dag.max_active_tasks)),
        (_("Run time limit"), words.duration(dag.dagrun_timeout) or _("none")),
        (_("Stops at first failure"), _("yes") if dag.fail_fast else _("no")),
        (_("Owners"), ", ".join(dag.owners) or "–"),
        (_("File"), dag.fileloc),
        (
            _("Read"),
            _("%(last_parsed_time)s, took %(took)s")
            % {"last_parsed_time": moment(dag.last_parsed_time), "took": words.duration(dag.last_parse_duration) or "–"},
        ),
        (_("Callbacks"), ", ".join(spec.callbacks) or _("none")),
    ]
