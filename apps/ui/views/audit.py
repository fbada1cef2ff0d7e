"""Who did what: the page `/audit` and the tab of a DAG. The filters live in the URL."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from apps.ui.page import page, show
from apps.ui.queries import audit as queries
from apps.ui.views import saved
from apps.ui.views.dag import get_dag, show_tab


@page(read="audit")
def trail(request: HttpRequest) -> HttpResponse:
    """Everything that was changed, by whom."""
    elsewhere, default = saved.at_first(request, "audit")
    if elsewhere is not None:
        return elsewhere
    return show(request, "ui/audit.html", {**_context(request), **default}, nav="audit", title=_("Audit"), crumbs=[(_("Audit"), "")])


@page(read="audit")
def of_dag(request: HttpRequest, dag_id: str) -> HttpResponse:
    """What was done to one DAG, its runs and tasks."""
    dag = get_dag(dag_id)
    return show_tab(request, dag, "audit", "ui/dag_audit.html", _context(request, dag_id))


def _context(request: HttpRequest, dag_id: str | None = None) -> dict[str, Any]:
    get = request.GET.get
    before = get("before", "")
    wrong: list[str] = []
    wanted = queries.Filters(
        who=get("who", "").strip(), what=get("what", "").strip(), dag="" if dag_id else get("dag", "").strip(),
        since=_day(get("since", ""), wrong), until=_day(get("until", ""), wrong),
        before=int(before) if before.isdecimal() and len(before) < 19 else None,
    )  # fmt: skip
    lines, following = queries.trail(request.user, wanted, dag_id=dag_id)
    known = {wanted.what: wanted.what, **queries.ACTIONS} if wanted.what else queries.ACTIONS
    actions = sorted(known.items(), key=lambda pair: str(pair[1]))
    return {"lines": lines, "wanted": wanted, "next": following, "wrong": wrong, "filtered": bool(wanted), "actions": actions}


def _day(text: str, wrong: list[str]) -> date | None:
    """A day of the filter; what is none is said on the page and filters nothing."""
    try:
        day = date.fromisoformat(text) if text else None
    except ValueError:
        day = None
    if text and (day is None or not 1 < day.year < 9999):
        wrong.append(text)
        return None
    return day
