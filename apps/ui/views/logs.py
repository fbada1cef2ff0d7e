"""A try's log for the viewer: what it holds, windows of it, searching; and all of it as text.

Translates between URLs and `logwindow`; `api/logs.py` does the same for REST.
"""

from __future__ import annotations

from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse

from apps.runs.errors import NotFound
from apps.runs.models import Try
from apps.ui import logview, logwindow, rights, sentences
from apps.ui.page import missing, page
from apps.ui.views.data import answer

MAX_NUMBER = 2**53


def _try(request: HttpRequest, try_id: Any) -> Try:
    row = Try.objects.filter(pk=try_id).select_related("ti").first()
    if row is None or not rights.allowed(request.user, "read", "log", row.ti.dag_id):
        raise NotFound("There is no such try.")
    return row


def _view(request: HttpRequest) -> logwindow.View:
    return logwindow.View(frozenset(request.GET.getlist("level")), frozenset(request.GET.getlist("source")))


def _number(request: HttpRequest, name: str, default: int = 0) -> int:
    text = request.GET.get(name, "")
    return min(int(text), MAX_NUMBER) if text.isdecimal() and len(text) < 18 else default


@page()
def about(request: HttpRequest, try_id: Any) -> HttpResponse:
    """`?level=`, `?source=` (repeated) choose a view."""
    return answer(logwindow.about(_try(request, try_id), _view(request)))


@page()
def lines(request: HttpRequest, try_id: Any) -> HttpResponse:
    """`?at=` a rank in the view, or `?line=` a number; `?count=` how many."""
    line = _number(request, "line") if "line" in request.GET else None
    row, view = _try(request, try_id), _view(request)
    try:
        return answer(logwindow.window(row, view, at=_number(request, "at"), line=line, count=_number(request, "count", 200)))
    except FileNotFoundError:
        raise NotFound("The log is not here: it was removed, or kept by another server.") from None


@page()
def search(request: HttpRequest, try_id: Any) -> HttpResponse:
    """`?q=` a text, with `?regex=1` a pattern; `?errors=1` instead: where errors begin. `?after=` goes on."""
    row, view, after = _try(request, try_id), _view(request), _number(request, "after")
    if request.GET.get("errors") == "1":
        return answer(logwindow.errors(row, view, after=after, limit=_number(request, "limit", 1) or 1))
    text = request.GET.get("q", "")[: logwindow.MAX_PATTERN]
    if not text:
        return answer({"hits": [], "next": None, "scanned": 0, "records": 0})
    try:
        return answer(logwindow.search(row, text, view, regex=request.GET.get("regex") == "1", after=after))
    except logwindow.BadPattern as e:
        return JsonResponse({"detail": sentences.told(f"Not a regular expression: {e}")}, status=422)


@page()
def log_text(request: HttpRequest, try_id: Any) -> HttpResponse | StreamingHttpResponse:
    """The whole log of one try as plain text, as it is read."""
    try:
        row = _try(request, try_id)
    except NotFound:
        return missing(request, sentences.told("There is no such try."))
    text = logview.stream_text(row) if isinstance(request, ASGIRequest) else logview.as_text(row)
    response = StreamingHttpResponse(text, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'inline; filename="{row.ti.task_id}-try-{row.number}.log"'
    return response
