"""Data for the islands: columnar JSON, straight from SQL, nothing the island does not draw."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.dags.models import Dag, DagVersion
from apps.runs.errors import NotFound
from apps.runs.models import Run, TaskInstance
from apps.ui import rights, sentences, words
from apps.ui.live import cursor
from apps.ui.page import page
from apps.ui.queries import grid as grid_queries
from apps.ui.queries import runs as run_queries
from apps.ui.queries import structure as structures
from apps.ui.queries import surroundings
from apps.ui.queries.structure import Structure
from apps.ui.views.dag import get_dag, structure_of

MAX_RUNS = 365


def answer(data: Any) -> HttpResponse:
    """JSON that nobody keeps."""
    response = HttpResponse(orjson.dumps(data), content_type="application/json")
    response["Cache-Control"] = "no-store"
    return response


def _number(text: str | None, default: int, high: int) -> int:
    return max(1, min(high, int(text))) if text and text.isdigit() else default


@page(read="run")
def grid(request: HttpRequest, dag_id: str) -> HttpResponse:
    """`?runs=` how many; `?run=` (repeated) only these, after live changes; `?before=` older than this one."""
    dag = get_dag(dag_id)
    only = [int(x) for x in request.GET.getlist("run") if x.isdigit()][:MAX_RUNS] or None
    text = request.GET.get("before", "")
    before = int(text) if text.isdigit() else None
    return answer(
        grid_queries.load(dag_id, structure_of(dag), limit=_number(request.GET.get("runs"), 25, MAX_RUNS), only=only, before=before)
    )


@page(read="run")
def graph(request: HttpRequest, dag_id: str) -> HttpResponse:
    """Nodes, groups and edges of `?version=` (else of the run's version, else the newest), with states when `?run=` names a run.

    `?around=0` leaves out assets and other DAGs.
    """
    dag = get_dag(dag_id)
    position = cursor.take()
    run_id = request.GET.get("run", "")
    run = (
        Run.objects.filter(dag=dag, run_id=run_id).select_related("dag_version").defer("dag_version__spec", "dag_version__source").first()
        if run_id
        else None
    )
    structure = _version(dag, request.GET.get("version", "")) or (run_queries.version_structure(run) if run else None) or structure_of(dag)
    lines = {t.task_id: t for t in run_queries.task_lines(run, structure)} if run else {}
    rows = structure.rows if structure else ()
    nodes = []
    for row in rows:
        line = lines.get(row.id)
        nodes.append({
            "id": row.id, "label": row.label, "parent": rows[row.parent].id if row.parent >= 0 else None, "group": row.is_group,
            "mapped": row.mapped,
            "op": row.operator, "count": line.count if line else 0, "state": line.state if line else None,
            "took": words.duration(line.seconds) if line and line.start else "", "reason": sentences.told(line.reason) if line else "",
        })  # fmt: skip
    edges = [[a, b, structure.edge_labels.get((a, b), "")] for a, b in structure.edges] if structure else []
    if structure and request.GET.get("around") != "0":
        left, entered = {a for a, _ in structure.edges}, {b for _, b in structure.edges}
        around = structure.around + surroundings.callers(request.user, dag_id, structure.task_ids)
        ends = ([t for t in structure.task_ids if t not in taken] for taken in (entered, left))
        outside, lines_out = surroundings.drawn(request.user, around, *ends)
        nodes += outside
        edges += lines_out
    base = reverse("run", args=[dag_id, run.run_id]) if run else None
    return answer({
        "cursor": position, "dag": dag_id, "version": str(structure.version_id) if structure else "", "nodes": nodes, "edges": edges,
        "run": {"pk": run.pk, "id": run.run_id, "state": run.state, "href": base} if run else None,
        "tasks_href": reverse("dag_tasks", args=[dag_id]),
    })  # fmt: skip


def _version(dag: Dag, number: str) -> Structure | None:
    """The version of that number; raises NotFound. None for an empty one."""
    if not number:
        return None
    known = DagVersion.objects.filter(dag=dag, number=int(number)) if number.isdecimal() and len(number) < 10 else DagVersion.objects.none()
    row = known.values_list("pk", "spec_hash").first()
    if row is None:
        raise NotFound(f"{dag.dag_id} has no version {number}. The tab Code lists those that exist.")
    return structures.of_version(*row)


@page()
def tip(request: HttpRequest, run_pk: int, task_id: str) -> HttpResponse:
    """What the tooltip of one tile says: state, reason, how long."""
    run = Run.objects.filter(pk=run_pk).only("dag_id", "run_after").first()
    if run is None or not rights.allowed(request.user, "read", "run", run.dag_id):
        raise NotFound(_("That run is gone."))  # the same words for both: ids can be guessed, names of DAGs must not come back
    rows = list(
        TaskInstance.objects.filter(run_id=run_pk, task_id=task_id).values_list("state", "reason", "start_date", "end_date", "try_number")[
            :1000
        ]
    )
    if not rows:
        return answer({"state": None, "text": _("not part of this run"), "took": ""})
    state = words.worst({r[0] for r in rows})
    row = next((r for r in rows if r[0] == state and r[1]), rows[0])
    end = row[3] or datetime.now(UTC)
    took = words.duration((end - row[2]).total_seconds()) if row[2] else ""
    counts = {s: sum(r[0] == s for r in rows) for s in {r[0] for r in rows}} if len(rows) > 1 else {}
    more = ", ".join(f"{n} {words.said(s)}" for s, n in sorted(counts.items()))
    return answer({"state": state, "text": sentences.told(row[1]) or more, "took": took, "more": more, "try": row[4]})
