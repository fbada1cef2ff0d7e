"""The page that looks for a text in the logs of all runs, newest first. A form and links; it works without scripts."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from apps.ui.page import page, show
from apps.ui.queries import logsearch as queries
from trackside.core.states import TaskState

STATES = tuple(str(s) for s in (TaskState.FAILED, TaskState.RUNNING, TaskState.SUCCESS, TaskState.UP_FOR_RETRY))


@page()
def logs(request: HttpRequest) -> HttpResponse:
    """`?q=`, `?dag=` (its id), `?state=` of the task; `?before=` goes on."""
    get = request.GET.get
    q = get("q", "").replace("\0", "").strip()[: queries.LONGEST]
    dag, state = get("dag", "").replace("\0", "").strip(), get("state", "")
    state = state if state in STATES else ""
    look = queries.search(request.user, q, dag=dag, state=state, before=get("before", "")) if q else None
    context = {"q": q, "dag_id": dag, "state": state, "states": STATES, "look": look, "goes_on": bool(get("before", ""))}
    return show(request, "ui/logs.html", context, nav="tasks", title=_("Search logs"), crumbs=[(_("Search logs"), "")])
