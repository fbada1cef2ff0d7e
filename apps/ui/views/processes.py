"""The page of Trackside's own processes: does each answer, where does it run, how loaded is it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from apps.ui.live import cursor
from apps.ui.page import page, show
from apps.ui.queries import processes as queries
from apps.ui.queries import underway


@page(read="monitor")
def processes(request: HttpRequest) -> HttpResponse:
    """A process that dies says nothing, so this page looks again by itself, as home does."""
    position = cursor.take()
    context = {**queries.board(), "places": underway.places(request.user), "cursor": position}
    return show(request, "ui/processes.html", context, nav="processes", title=_("Processes"), crumbs=[(_("Processes"), "")])
