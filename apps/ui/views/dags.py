"""The list of DAGs, and single rows of it for live changes."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from apps.ui.live import cursor
from apps.ui.page import page, show
from apps.ui.queries import dags as queries
from apps.ui.views import saved

MAX_ROWS = 50


@page()
def dags(request: HttpRequest) -> HttpResponse:
    """Search, view and tag live in the URL; the whole list is a handful of statements."""
    elsewhere, default = saved.at_first(request, "dags")
    if elsewhere is not None:
        return elsewhere
    position = cursor.take()
    view = request.GET.get("view", "all")
    offset = int(request.GET.get("offset", "0")) if request.GET.get("offset", "0").isdigit() else 0
    q, tag = request.GET.get("q", "").strip(), request.GET.get("tag", "")
    found = queries.listing(request.user, view=view if view in queries.VIEWS else "all", search=q, tag=tag, offset=offset)
    more = offset + queries.PAGE
    context = {
        "list": found, "view": view, "q": q, "tag": tag, "cursor": position, "dags_folder": settings.DAGS_FOLDER,
        "prev_offset": max(0, offset - queries.PAGE), "next_offset": more if more < found.total else None, **default,
    }  # fmt: skip
    return show(request, "ui/dags.html", context, nav="dags", title="DAGs", crumbs=[("DAGs", "")])


@page()
def rows(request: HttpRequest) -> HttpResponse:
    """The rows of these DAGs (`?id=…&id=…`), as the list draws them."""
    ids = request.GET.getlist("id")[:MAX_ROWS]
    found = queries.lines(queries.visible(request.user).filter(dag_id__in=ids).order_by("dag_id"))
    return render(request, "ui/_dag_rows.html", {"lines": found})
