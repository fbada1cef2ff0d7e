"""The admin site: who may enter, where people sign in, how its parts are grouped and called.

Everything is registered on `site`. Whether a person may see or change a kind of thing is asked of `policy`, never of
Django's own permissions. Next door: `adminbase.py` (what all model admins share), `apps/*/admin.py`.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from apps.access import policy

_GROUPS = {"access": "Access", "runs": "Runs", "dags": "DAGs"}
"""Headings and their order."""


class TracksideAdmin(AdminSite):
    """Stock admin, our rules: everybody with a role may enter, and sees what the policy lets that role see."""

    site_header = "Trackside administration"
    site_title = "Trackside"
    index_title = "Administration"
    site_url = "/"
    enable_nav_sidebar = True
    login_form = AuthenticationForm
    """Only for an installation without the pages: theirs is the usual door."""

    def has_permission(self, request: HttpRequest) -> bool:
        """Anyone with a role, here or in a team; each model then asks the policy for itself."""
        return policy.has_a_role(request.user)

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The pages' sign-in. Who is signed in and has no role is told so, instead of sent round in circles."""
        if request.user.is_authenticated and not self.has_permission(request):
            raise PermissionDenied("You have no role here. An administrator can give you one.")
        try:
            door = reverse(settings.LOGIN_URL or "")
        except NoReverseMatch:
            return super().login(request, extra_context)
        if self.has_permission(request):
            return redirect("admin:index")
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"), door)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """One's own password is changed on one's own page."""
        return redirect("account")

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Apps by our headings, in our order."""
        apps = super().get_app_list(request, app_label)
        for app in apps:
            app["name"] = _GROUPS.get(app["app_label"], app["name"])
        if app_label is None:
            _move_groups(apps)
        order = list(_GROUPS)
        return sorted(apps, key=lambda app: order.index(app["app_label"]) if app["app_label"] in order else len(order))


def _move_groups(apps: list[Any]) -> None:
    """Groups are Django's, but people look for them beside users."""
    by_label = {app["app_label"]: app for app in apps}
    if "auth" in by_label and "access" in by_label:
        apps.remove(by_label["auth"])
        by_label["access"]["models"] += by_label["auth"]["models"]
        by_label["access"]["models"].sort(key=lambda model: str(model["name"]).lower())


site = TracksideAdmin(name="admin")
