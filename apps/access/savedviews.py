"""Saved views: the filters of a list page under a name, for oneself or shared, and which one a list opens with for a person.

For the pages' dialog and the palette (`apps.ui`), and for REST (`apps.access.api.views`).

The address of a page is its state, so a view is nothing but query parameters that the page knows; it never holds rows.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from apps.access import audit, policy
from apps.access.models import DefaultView, SavedView, User

MOST = 50
"""Views of one person."""
LONGEST = 250
"""Characters of a filter's value."""
FILTERS = {
    "dags": ("view", "q", "tag"),
    "runs": ("state", "type"),
    "tasks": ("state", "dag", "pool", "operator", "days"),
    "audit": ("who", "what", "dag", "since", "until"),
}
"""Name of a page's route: its filters. Never where one is in the list (`before`, `offset`)."""


class ViewRefused(ValueError):
    """What was asked cannot be; the text says what to do. `status` is REST's."""

    def __init__(self, detail: str, status: int = 400) -> None:
        self.detail, self.status = detail, status
        super().__init__(detail)


def seen(user: User, page: str = "") -> QuerySet[SavedView]:
    """Own and shared views, of one page or of all. One statement."""
    views = SavedView.objects.filter(Q(owner=user) | Q(shared=True)).select_related("owner")
    return views.filter(page=page) if page else views


def may_open(user: User, page: str) -> bool:
    """Whether the person may open that list, and so has views of it."""
    return page in FILTERS and (page != "audit" or policy.allowed(user, policy.READ, "audit"))


def default(user: User, page: str) -> SavedView | None:
    """The view that the list opens with for this person, if they still see it and it still filters something. One statement."""
    chosen = DefaultView.objects.filter(Q(view__owner=user) | Q(view__shared=True), person=user, page=page).select_related("view").first()
    return chosen.view if chosen and known(page, chosen.view.filters) else None


def set_default(user: User, actor: audit.Actor, pk: int, on: bool = True) -> SavedView:
    """Let the list open with this view, or no longer. Raises ViewRefused."""
    with transaction.atomic():
        view = seen(user).select_for_update(of=("self",)).filter(pk=pk).first()
        if view is None or not may_open(user, view.page):
            raise ViewRefused(_("That view is gone, or not shared with you any more."), 404)
        before = DefaultView.objects.filter(person=user, page=view.page).select_related("view").first()
        if on:
            DefaultView.objects.update_or_create(person=user, page=view.page, defaults={"view": view})
        elif before is not None and before.view_id == view.pk:
            before.delete()
        else:
            return view
        change = {"before": {"default": before.view.name if before else None}, "after": {"default": view.name if on else None}}
        audit.record("patch_view", actor, object_type="view", object_id=view.name, extra=change)
    return view


def known(page: str, given: Mapping[str, str]) -> dict[str, str]:
    """What of an address is a filter of the page, in the page's order."""
    values = {name: given.get(name, "").replace("\0", "").strip()[:LONGEST] for name in FILTERS[page]}
    return {name: value for name, value in values.items() if value}


def may_share(user: User) -> bool:
    """Whether this person's views may be shown to others."""
    return policy.allowed(user, policy.EDIT, "view")


def save(
    user: User, actor: audit.Actor, page: str, name: str, filters: dict[str, str], *, shared: bool = False, replace: bool = True
) -> SavedView:
    """A new view; one of the same name is replaced, or refused with `replace=False`. Raises ViewRefused."""
    name = _checked(user, name, filters, shared)
    with transaction.atomic():
        _one_at_a_time(user)
        own = SavedView.objects.filter(owner=user)
        before = own.filter(page=page, name=name).first()
        if before is not None and not replace:
            raise ViewRefused(_("You have a view of this list with that name. Choose another name, or change that view."), 409)
        if before is None and own.count() >= MOST:
            raise ViewRefused(_("You have %(most)s saved views. Delete one first.") % {"most": MOST}, 409)
        view, _made = SavedView.objects.update_or_create(owner=user, page=page, name=name, defaults={"filters": filters, "shared": shared})
        change = {"after": _told(view)}
        if before is not None:
            change["before"] = _told(before)
        audit.record("patch_view" if before else "post_view", actor, object_type="view", object_id=name, extra=change)
    return view


def change(
    user: User, actor: audit.Actor, pk: int, *, name: str | None = None, filters: dict[str, str] | None = None, shared: bool | None = None
) -> SavedView:
    """Change what is given of an own view, or of a shared one with the right to. Raises ViewRefused."""
    may = Q(owner=user) | (Q(shared=True) if may_share(user) else policy.NONE)
    with transaction.atomic():
        _one_at_a_time(user)
        view = SavedView.objects.select_for_update().filter(may, pk=pk).first()
        if view is None:
            raise ViewRefused(_("That view is gone, or not yours to change."), 404)
        before = _told(view)
        view.filters = view.filters if filters is None else filters
        view.shared = view.shared if shared is None else shared
        # what is shared already may stay so
        view.name = _checked(user, view.name if name is None else name, view.filters, view.shared and not before["shared"])
        if SavedView.objects.filter(owner_id=view.owner_id, page=view.page, name=view.name).exclude(pk=pk).exists():
            raise ViewRefused(_("You have a view of this list with that name. Choose another name, or change that view."), 409)
        if _told(view) != before:
            view.save()
            audit.record("patch_view", actor, object_type="view", object_id=view.name, extra={"before": before, "after": _told(view)})
    return view


def _checked(user: User, name: str, filters: dict[str, str], shared: bool) -> str:
    """The name as it is kept. Raises ViewRefused."""
    name = " ".join(name.split())
    if not name or len(name) > 100 or not name.isprintable():
        raise ViewRefused(_("Give the view a name of 1 to 100 characters."))
    if not filters:
        raise ViewRefused(_("Nothing is filtered yet. Choose a filter first, then save the view."))
    if shared and not may_share(user):
        raise ViewRefused(_("You may not share views. Save it for yourself, or ask an Op or Admin to share it."), 403)
    return name


def _one_at_a_time(user: User) -> None:
    """Two saves at once do not pass the limit together."""
    User.objects.select_for_update().only("pk").get(pk=user.pk)


def _told(view: SavedView) -> dict[str, object]:
    return {"name": view.name, "shared": view.shared, **view.filters}


def delete(user: User, actor: audit.Actor, pk: int) -> SavedView:
    """Delete an own view, or a shared one with the right to. Raises ViewRefused: somebody else's own view does not exist here."""
    may = Q(owner=user) | (Q(shared=True) if policy.allowed(user, policy.DELETE, "view") else policy.NONE)
    with transaction.atomic():
        view = SavedView.objects.select_for_update().filter(may, pk=pk).first()
        if view is None:
            raise ViewRefused(_("That view is gone, or not yours to delete."), 404)
        audit.record("delete_view", actor, object_type="view", object_id=view.name, extra={"before": _told(view)})
        view.delete()
    return view
