"""The frame of every page: who looks (signed in, allowed), in which zone, with which navigation.

A view is `@page(read="dag")` and returns `show(request, template, …)`. Next door: `rights.py` asks the policy,
`views/*` translate between URLs and queries, `queries/*` read the database in a fixed number of statements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any
from urllib.parse import unquote

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.access.audit import Actor
from apps.runs.errors import ActionRefused
from apps.ui import rights, sentences, words
from apps.ui.crumbs import Crumb
from apps.ui.queries import shell as numbers

"""Text and URL; the last one is the page itself."""


def page(*, read: str = "dag", action: str = "read") -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """Signed in, allowed to `action` that kind of thing (of the DAG in the URL, if one is), in the reader's zone."""

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @login_required
        @wraps(view)
        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not may_enter(request, action, read, kwargs.get("dag_id")):
                return refuse(request, action, read, kwargs.get("dag_id"))
            with timezone.override(zone_of(request)):
                try:
                    return view(request, *args, **kwargs)
                except ActionRefused as e:
                    if e.status == 404:
                        return missing(request, sentences.told(str(e.detail)))
                    raise

        inner.needs = (action, read)  # type: ignore[attr-defined]  # the permission matrix is made from it
        return inner

    return decorate


def may_enter(request: HttpRequest, action: str, kind: str, dag_id: str | None) -> bool:
    """Lists without a DAG open for everybody who is signed in; they show what `visible_dags` leaves."""
    if dag_id is None and kind == "dag" and action == "read":
        return True
    return rights.allowed(request.user, action, kind, dag_id)


def zone_of(request: HttpRequest) -> Any:
    """The reader's zone: `?tz=`, the cookie that the shell sets from the browser, else UTC."""
    return words.zone(request.GET.get("tz") or unquote(request.COOKIES.get("tz", ""))) or timezone.get_default_timezone()


def actor_of(request: HttpRequest) -> Actor:
    """Who acts, for domain calls and the audit trail."""
    return Actor(request.user.get_username(), "ui")


def wants_fragment(request: HttpRequest) -> bool:
    """The shell asked for a piece of a page (dialog, preview, drawer)."""
    return request.headers.get("HX-Request") == "true"


def show(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    *,
    nav: str = "",
    title: str = "",
    crumbs: Sequence[Crumb | tuple[str, str]] = (),
    status: int = 200,
) -> HttpResponse:
    """A whole page, with navigation, counts and process state (one statement)."""
    about = {"shell": shell(request.user), "zone": zone_label(), "app_version": settings.VERSION}
    frame = {"nav": nav, "title": title, "crumbs": [Crumb(*crumb) for crumb in crumbs], **about}
    return render(request, template, {**frame, **context}, status=status)


def shell(user: Any) -> dict[str, Any]:
    """Counts beside the navigation and whether a scheduler lives (one statement), and which pages are for this person."""
    kinds = ("audit", "monitor", "connection", "pool", "variable")
    return {**numbers.counts(user), **{f"may_{kind}": rights.somewhere(user, "read", kind) for kind in kinds}}


def zone_label() -> str:
    """Name of the zone in which this page tells times."""
    return words.zone_name(timezone.now(), timezone.get_current_timezone())


def refuse(request: HttpRequest, action: str, kind: str, dag_id: str | None) -> HttpResponse:
    """403: what is not allowed, and who can allow it."""
    named = {"action": words.action(action), "things": words.things(kind), "dag": dag_id}
    text = (
        _("You may not %(action)s %(things)s of %(dag)s. An administrator can give you a role that allows it.") % named
        if dag_id
        else _("You may not %(action)s %(things)s. An administrator can give you a role that allows it.") % named
    )
    if request.path.startswith("/ui/"):
        return JsonResponse({"detail": text}, status=403)
    return show(
        request,
        "ui/message.html",
        {"heading": _("Not allowed"), "text": text, "glyph_state": "removed"},
        title=_("Not allowed"),
        status=403,
    )


def missing(request: HttpRequest, text: str) -> HttpResponse:
    """404 in the frame of the pages."""
    if request.path.startswith("/ui/"):
        return JsonResponse({"detail": text}, status=404)
    return show(
        request, "ui/message.html", {"heading": _("Not found"), "text": text, "glyph_state": "none"}, title=_("Not found"), status=404
    )


def tell(request: HttpRequest, text: str, *, bad: bool = False, undo: str = "") -> None:
    """A sentence for the next page: what was done, or why not; `undo` is the URL that takes it back."""
    (messages.error if bad else messages.success)(request, text, extra_tags=undo)
