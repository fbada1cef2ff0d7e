"""The switchers of the breadcrumb: another DAG or another run, on the same tab or task. The list is the palette's (`shell/palette.ts`);
without scripts the same link leads to the list's page (`apps.ui.crumbs`).
"""

from __future__ import annotations

from typing import cast
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.access import policy
from apps.access.models import User
from apps.dags.models import Dag
from apps.runs.models import Run
from apps.ui import words
from apps.ui.page import page
from apps.ui.views.data import answer

DAGS = 20
RUNS = 30
"""Newest ones, of which the text that was typed picks."""
SEARCHED = 200
TABS = frozenset({"graph", "runs", "calendar", "backfills", "tasks", "trends", "code", "audit", "details"})
"""Of a DAG; each is a page `dag_<tab>`."""


@page()
def dag(request: HttpRequest) -> HttpResponse:
    """DAGs whose name contains `?q=`, each on the tab `?tab=`. One statement."""
    q, tab = request.GET.get("q", "").strip(), request.GET.get("tab", "")
    route = f"dag_{tab}" if tab in TABS else "dag"
    dags = Dag.objects.filter(policy.visible_dags(cast(User, request.user)), is_stale=False, dag_id__icontains=q)
    found = dags.order_by("dag_id").values_list("dag_id", "is_paused")[:DAGS]
    return answer([_hit("dag", pk, _("paused") if paused else "", reverse(route, args=[pk])) for pk, paused in found])


@page(read="run")
def run(request: HttpRequest, dag_id: str) -> HttpResponse:
    """The newest runs of a DAG whose time, state or id contains `?q=`, on the same task or tab. One statement."""
    q = request.GET.get("q", "").strip().lower()
    same = {name: request.GET[name] for name in ("map_index", "tab") if request.GET.get(name)}
    query, task = f"?{urlencode(same)}" if same else "", request.GET.get("task", "")
    hits = []
    for row in Run.objects.filter(dag_id=dag_id).order_by("-run_after", "-pk").only("dag_id", "run_id", "run_after", "state")[:SEARCHED]:
        text, state = words.moment(row.run_after), words.label(row.state)
        if not q or any(q in told.lower() for told in (text, state, row.state, row.run_id)):
            of = [dag_id, row.run_id, *([task] if task else [])]
            hits.append(_hit("runs", text, state, reverse("task" if task else "run", args=of) + query))
    return answer(hits[:RUNS])


def _hit(kind: str, text: str, more: str, href: str) -> dict[str, str]:
    return {"kind": kind, "text": text, "more": more, "href": href}
