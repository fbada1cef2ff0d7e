"""What all our model admins share: rights from the policy, an audit event for every change, cheap lists.

Used by `apps/*/admin.py`. Django calls `log_addition`, `log_change` and `log_deletions` once per change, inside the
transaction of the change: that is where the audit event is written: names of the changed fields, and what `audit_fields`
were before and are after. Fields that hold secrets are never among them. Django's own history holds names only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.access import audit, masking, policy, teams

PAGE = 50


def actor_of(request: HttpRequest) -> audit.Actor:
    """The signed-in person, through this face."""
    return audit.Actor(request.user.get_username(), "admin")


def called(model: type[models.Model], one: str, many: str) -> None:
    """What the admin calls a model. Not in its Meta: words for people are no reason for a migration."""
    model._meta.verbose_name, model._meta.verbose_name_plural = one, many


def admin_link(obj: models.Model | None, text: str | None = None) -> SafeString | str:
    """Link to an object's page in this admin; a dash for nothing."""
    if obj is None:
        return "–"
    url = reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=(obj.pk,))
    return format_html('<a href="{}">{}</a>', url, text or str(obj))


def list_link(model: type[models.Model], text: str, **filters: Any) -> SafeString:
    """Link to a filtered list of another model in this admin."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist", query=filters)
    return format_html('<a href="{}">{}</a>', url, text)


def pretty(value: Any) -> SafeString:
    """JSON without secrets, for reading."""
    return format_html('<pre class="json">{}</pre>', json.dumps(masking.mask(value), indent=2, default=str, ensure_ascii=False))


def lines(items: Sequence[str]) -> SafeString:
    """One item per line."""
    return format_html_join(SafeString("<br>"), "{}", ((item,) for item in items))


class PolicyAdmin(admin.ModelAdmin):
    """A model admin whose rights are the policy's rights on `kind`, and whose changes are audited."""

    kind: str
    """One of `policy.KINDS`."""
    audit_fields: tuple[str, ...] = ()
    """Attributes whose values the trail shows before and after a change."""
    audit_name: str
    """What the audit trail calls such an object; also the end of the action's name: post_connection …"""
    list_per_page = PAGE
    show_full_result_count = False
    save_on_top = False

    def may(self, request: HttpRequest, action: str, obj: Any = None) -> bool:
        """Everywhere, or on this object (without one: on any) by a role in the team that owns it."""
        user: Any = request.user
        if self.kind not in policy.OWNED_KINDS or policy.allowed(user, action, self.kind):
            return policy.allowed(user, action, self.kind)
        mine = policy.teams_for(user, action, self.kind)
        return bool(mine) if obj is None else obj.team_name in mine

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May read this kind."""
        return self.may(request, policy.READ, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May edit this kind."""
        return self.may(request, policy.EDIT)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May edit this kind."""
        return self.may(request, policy.EDIT, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May delete this kind."""
        return self.may(request, policy.DELETE, obj)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Of what teams own, what the person may see."""
        found = super().get_queryset(request)
        user: Any = request.user
        return found.filter(policy.owned(user, policy.READ, self.kind)) if self.kind in policy.OWNED_KINDS else found

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Teams are chosen from those there are; who acts by a role in teams keeps things for these teams only."""
        if db_field.name != "team_name" or self.kind not in policy.OWNED_KINDS:
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        if not policy.allowed(request.user, policy.EDIT, self.kind):
            mine = sorted(policy.teams_for(request.user, policy.EDIT, self.kind))
            return forms.ChoiceField(label="Team", choices=[(team, team) for team in mine])
        known = {*teams.rules().names, *self.model._default_manager.exclude(team_name=None).values_list("team_name", flat=True)}
        choices = [("", "nobody's: every DAG may use it"), *((team, team) for team in sorted(known - {""}))]
        return forms.TypedChoiceField(label="Team", choices=choices, required=False, empty_value=None)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """The heading shows when something below it may be seen."""
        return self.has_view_permission(request)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What goes along is not registered one by one: the right to delete the object is what counts."""
        to_delete, counts, _needed, protected = super().get_deleted_objects(objs, request)
        refused = any(not self.has_delete_permission(request, obj) for obj in objs)
        return to_delete, counts, {str(self.model._meta.verbose_name)} if refused else set(), protected

    # Audit

    def audit_id(self, obj: Any) -> str:
        """How the trail names the object."""
        return str(obj)

    def audit_state(self, obj: Any) -> dict[str, Any]:
        """What the trail may show of an object; JSON."""
        return {name: masking.mask(getattr(obj, name), name) for name in self.audit_fields}

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Remembers what a change starts from."""
        obj = super().get_object(request, object_id, from_field)
        if obj is not None and request.method == "POST":
            request.audit_before = self.audit_state(obj)  # type: ignore[attr-defined]
        return obj

    def audit(self, request: HttpRequest, verb: str, obj: Any, message: Any = None) -> None:
        """Write the event: who, what, which fields, before and after."""
        extra: dict[str, Any] = {"fields": fields} if (fields := _fields(message)) else {}
        if verb == "delete":
            extra |= {"before": state} if (state := self.audit_state(obj)) else {}
        else:
            change = audit.change(getattr(request, "audit_before", {}), self.audit_state(obj))
            extra |= {name: values for name, values in change.items() if values}
        audit.record(
            f"{verb}_{self.audit_name}",
            actor_of(request),
            object_type=self.audit_name,
            object_id=self.audit_id(obj),
            extra=extra,
        )

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Django's history and ours."""
        self.audit(request, "post", obj, message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Django's history and ours."""
        self.audit(request, "patch", obj, message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Django's history and ours."""
        for obj in queryset:
            self.audit(request, "delete", obj)
        return super().log_deletions(request, queryset)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Actions change and audit in one transaction."""
        with transaction.atomic():
            return super().changelist_view(request, extra_context)


class ReadOnlyAdmin(PolicyAdmin):
    """Rows that only the machinery writes: to look at, search and filter."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False


def _fields(message: Any) -> list[str]:
    """Names of the changed fields in a message of Django's history."""
    if not isinstance(message, list):
        return []
    return sorted({name for part in message for what in part.values() for name in what.get("fields", ())})
