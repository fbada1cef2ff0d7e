"""Saved views of the lists: a dialog that shows those of a page and saves what is filtered now; deletion; the view that
a list opens with. The rules are `apps.access.savedviews`'.
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from apps.access import savedviews
from apps.access.models import SavedView, User
from apps.runs.errors import NotFound
from apps.ui.page import actor_of, page
from apps.ui.views.actions import done
from apps.ui.views.dialogs import dialog


@page()
def views(request: HttpRequest, name: str) -> HttpResponse:
    """GET: the views of a list (`name` of its route), and a form for what `?here=` (its query) filters. POST saves that."""
    person = _person(request, name)
    here = request.GET.get("here", "")[:4000]
    filters = savedviews.known(name, QueryDict(here).dict())
    context: dict[str, Any] = {
        "subject": _("Saved views"), "filters": filters.items(), "back": _address(name, filters), "page_name": name,
        "may_share": savedviews.may_share(person), "name": request.POST.get("name", ""), "shared": request.POST.get("shared") == "on",
    }  # fmt: skip
    if request.method == "POST":
        try:
            view = savedviews.save(person, actor_of(request), name, context["name"], filters, shared=context["shared"])
        except savedviews.ViewRefused as refused:
            context["error"] = str(refused)
        else:
            return done(request, _("The view %(name)s is saved.") % {"name": view.name}, address(view))
    context["default_pk"] = default.pk if (default := savedviews.default(person, name)) else None
    views = [(view, address(view), view.owner_id == person.pk or context["may_share"]) for view in savedviews.seen(person, name)]
    return dialog(request, "ui/_dlg_views.html", {**context, "views": views}, status=422 if "error" in context else 200)


@require_POST
@page()
def delete(request: HttpRequest, name: str, view_pk: int) -> HttpResponse:
    """Delete a view."""
    person = _person(request, name)
    try:
        view = savedviews.delete(person, actor_of(request), view_pk)
    except savedviews.ViewRefused as refused:
        return done(request, str(refused), reverse(name), bad=True)
    return done(request, _("The view %(name)s is deleted.") % {"name": view.name}, reverse(name))


@require_POST
@page()
def make_default(request: HttpRequest, name: str, view_pk: int) -> HttpResponse:
    """Let the list open with this view (`on` is 1), or no longer."""
    person, on = _person(request, name), request.POST.get("on") == "1"
    try:
        view = savedviews.set_default(person, actor_of(request), view_pk, on)
    except savedviews.ViewRefused as refused:
        return done(request, str(refused), _plain(name), bad=True)
    if on:
        return done(request, _("The list opens with the view %(name)s.") % {"name": view.name}, address(view))
    return done(request, _("The list opens without a view."), _plain(name))


def at_first(request: HttpRequest, name: str) -> tuple[HttpResponse | None, dict[str, Any]]:
    """For a list that is opened: where to go instead, if it has a default and the address says nothing (`?all=1` says: everything);
    and for its template `default_view` (that the filters now are) and `plain` ("1": links to the whole list must say so). One statement.

    What scripts ask for stays where it is: the page they stand on is the one that was opened.
    """
    view = savedviews.default(cast(User, request.user), name)
    if view is None:
        return None, {}
    if request.method == "GET" and not request.GET and "HX-Request" not in request.headers:
        return redirect(address(view)), {}
    here = savedviews.known(name, request.GET.dict()) == savedviews.known(name, view.filters)
    return None, {"plain": "1", "default_view": view if here else None}


def _plain(name: str) -> str:
    return f"{reverse(name)}?all=1"


def offered(person: User, q: str, most: int) -> list[SavedView]:
    """Views for the palette whose name contains `q`, of lists that the person may open. One statement."""
    found = savedviews.seen(person).filter(name__icontains=q)[: most * 2]
    return [view for view in found if savedviews.may_open(person, view.page)][:most]


def address(view: SavedView) -> str:
    """The list with the filters of the view that it still knows."""
    return _address(view.page, savedviews.known(view.page, view.filters))


def _address(name: str, filters: dict[str, str]) -> str:
    return reverse(name) + (f"?{urlencode(filters)}" if filters else "")


def _person(request: HttpRequest, name: str) -> User:
    if not savedviews.may_open(cast(User, request.user), name):
        raise NotFound(_("There is no such list for you. Open a list from the navigation; its saved views are beside its filters."))
    return cast(User, request.user)
