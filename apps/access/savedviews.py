"""Saved views: the filters of a list page under a name, for oneself or shared. For the pages' dialog and the palette (`apps.ui`).

The address of a page is its state, so a view is nothing but query parameters that the page knows; it never holds rows.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from apps.access import audit, policy
from apps.access.models import SavedView, User

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
    """What was asked cannot be; the text says what to do."""


def seen(user: User, page: str = "") -> QuerySet[SavedView]:
    """Own and shared views, of one page or of all. One statement."""
    views = SavedView.objects.filter(Q(owner=user) | Q(shared=True)).select_related("owner")
    return views.filter(page=page) if page else views


def known(page: str, given: Mapping[str, str]) -> dict[str, str]:
    """What of an address is a filter of the page, in the page's order."""
    values = {name: given.get(name, "").replace("\0", "").strip()[:LONGEST] for name in FILTERS[page]}
    return {name: value for name, value in values.items() if value}


def may_share(user: User) -> bool:
    """Whether this person's views may be shown to others."""
    return policy.allowed(user, policy.EDIT, "view")


def save(user: User, actor: audit.Actor, page: str, name: str, filters: dict[str, str], *, shared: bool = False) -> SavedView:
    """A new view; one of the same name is replaced. Raises ViewRefused."""
    name = " ".join(name.split())
    if not name or len(name) > 100 or not name.isprintable():
        raise ViewRefused(_("Give the view a name of 1 to 100 characters."))
    if not filters:
        raise ViewRefused(_("Nothing is filtered yet. Choose a filter first, then save the view."))
    if shared and not may_share(user):
        raise ViewRefused(_("You may not share views. Save it for yourself, or ask an Op or Admin to share it."))
    with transaction.atomic():
        User.objects.select_for_update().only("pk").get(pk=user.pk)  # two saves at once do not pass the limit together
        own = SavedView.objects.filter(owner=user)
        before = own.filter(page=page, name=name).first()
        if before is None and own.count() >= MOST:
            raise ViewRefused(_("You have %(most)s saved views. Delete one first.") % {"most": MOST})
        view, _made = SavedView.objects.update_or_create(owner=user, page=page, name=name, defaults={"filters": filters, "shared": shared})
        change = {"after": {"name": name, "shared": shared, **filters}}
        if before is not None:
            change["before"] = {"name": name, "shared": before.shared, **before.filters}
        audit.record("patch_view" if before else "post_view", actor, object_type="view", object_id=name, extra=change)
    return view


def delete(user: User, actor: audit.Actor, pk: int) -> SavedView:
    """Delete an own view, or a shared one with the right to. Raises ViewRefused: somebody else's own view does not exist here."""
    may = Q(owner=user) | (Q(shared=True) if policy.allowed(user, policy.DELETE, "view") else policy.NONE)
    with transaction.atomic():
        view = SavedView.objects.select_for_update().filter(may, pk=pk).first()
        if view is None:
            raise ViewRefused(_("That view is gone, or not yours to delete."))
        before = {"name": view.name, "shared": view.shared, **view.filters}
        audit.record("delete_view", actor, object_type="view", object_id=view.name, extra={"before": before})
        view.delete()
    return view
