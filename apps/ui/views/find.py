"""The command palette's answers: saved views, pages, DAGs and their trigger, tasks, assets, runs, the search in logs.

Its other half is `shell/palette.ts`.
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from apps.access import policy
from apps.access.models import User
from apps.dags.models import Asset, Dag
from apps.runs.models import Run
from apps.ui import rights, words
from apps.ui.page import page
from apps.ui.queries import tasknames
from apps.ui.views import saved
from apps.ui.views.data import answer

MOST = 8
"""DAGs, and runs."""
FEW = 4
"""Of everything else."""
PAGES = (
    ("home", lazy("Home"), ""), ("dags", "DAGs", ""), ("runs", lazy("Runs"), ""), ("tasks", lazy("Task instances"), ""),
    ("logs", lazy("Search logs"), ""),
    ("assets", lazy("Assets"), "asset"), ("data_status", lazy("Data status"), "asset"), ("required_actions", lazy("Required actions"), ""),
    ("import_errors", lazy("Import errors"), ""), ("processes", lazy("Processes"), "monitor"), ("audit", lazy("Audit"), "audit"),
)  # fmt: skip
"""Route, name, and the kind of thing that one must be allowed to read."""


@page()
def find(request: HttpRequest) -> HttpResponse:
    """What has `?q=` in its name: [{kind (an icon), text, more, href}], best first. Without `q` DAGs only. Seven statements at most."""
    q, person = request.GET.get("q", "").replace("\0", "").strip(), cast(User, request.user)
    if not q:
        return answer(_dags(person, ""))
    return answer([*_places(person, q), *_dags(person, q), *_tasks(person, q), *_assets(person, q), *_runs(person, q), *_logs(person, q)])


def _hit(kind: str, text: str, more: str, href: str) -> dict[str, Any]:
    return {"kind": kind, "text": text, "more": more, "href": href}


def _places(person: User, q: str) -> list[dict[str, Any]]:
    views = [_hit("filter", view.name, _("saved view"), saved.address(view)) for view in saved.offered(person, q, FEW)]
    named = [(route, str(name)) for route, name, kind in PAGES if not kind or rights.allowed(person, "read", kind)]
    return views + [_hit("right", name, _("page"), reverse(route)) for route, name in named if q.lower() in name.lower()][:FEW]


def _dags(person: User, q: str) -> list[dict[str, Any]]:
    dags = Dag.objects.filter(policy.visible_dags(person), is_stale=False)
    found = list((dags.filter(dag_id__icontains=q) if q else dags).order_by("dag_id").values_list("dag_id", "is_paused")[:MOST])
    hits = [_hit("dag", dag_id, _("paused") if paused else "", reverse("dag", args=[dag_id])) for dag_id, paused in found]
    if q and len(found) == 1 and rights.allowed(person, "trigger", "run", found[0][0]):
        hits.append(_hit("play", _("Trigger %(dag_id)s") % {"dag_id": found[0][0]}, "", reverse("dag_trigger", args=[found[0][0]])))
    return hits


def _tasks(person: User, q: str) -> list[dict[str, Any]]:
    if len(q) < 2:
        return []
    hits = []
    for dag_id, task_id, run_id, index in tasknames.matching(person, q, MOST):
        page = reverse("task", args=[dag_id, run_id, task_id]) if run_id else reverse("dag_tasks", args=[dag_id])
        query = f"?map_index={index}" if index >= 0 else ""
        hits.append(_hit("list", task_id, _("task of %(dag_id)s") % {"dag_id": dag_id}, page + query))
    return hits


def _logs(person: User, q: str) -> list[dict[str, Any]]:
    """The last offer to whoever may read a log: what was typed may stand in one."""
    if len(q) < 3 or not policy.sees_a_dag(person):
        return []
    return [_hit("log", _("Search logs for “%(words)s”") % {"words": q}, "", f"{reverse('logs')}?{urlencode({'q': q})}")]


def _assets(person: User, q: str) -> list[dict[str, Any]]:
    if not rights.allowed(person, "read", "asset"):
        return []
    found = Asset.objects.filter(is_active=True, name__icontains=q).order_by("name").values_list("pk", "name")[:FEW]
    return [_hit("link", name, _("asset"), reverse("asset", args=[pk])) for pk, name in found]


def _runs(person: User, q: str) -> list[dict[str, Any]]:
    if len(q) < 3 or not policy.sees_a_dag(person):
        return []
    found = Run.objects.filter(policy.visible_dags(person, "dag"), run_id__icontains=q).order_by("-run_after")[:MOST]
    return [_hit("runs", f"{r.dag_id} {r.run_id}", words.label(r.state), reverse("run", args=[r.dag_id, r.run_id])) for r in found]
