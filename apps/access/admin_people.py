"""Administration of users, groups (roles) and API tokens. Registered by being imported from `admin.py`.

Rights come from group membership through `policy`; Django's own permissions are not shown because nothing asks them.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.timezone import now

from apps.access import policy, role_rights, signout, tokens
from apps.access.adminbase import PolicyAdmin, actor_of, admin_link, called, lines
from apps.access.adminsite import site
from apps.access.models import ApiToken, RoleRight, User
from trackside.core import idtext

called(ApiToken, "API token", "API tokens")
ROLE_WORDS = {
    "Viewer": "Reads DAGs, runs, logs, pools and the audit trail.",
    "User": "Also triggers, clears, marks and deletes.",
    "Op": "Also pools, connections and variables.",
    "Admin": "Everything, also users and tokens.",
}


@admin.register(User, site=site)
class UserAdmin(PolicyAdmin, StockUserAdmin):
    """People and service accounts. The password's hash is not shown either."""

    kind = "user"
    audit_name = "user"
    audit_fields = ("username", "first_name", "last_name", "email", "is_active", "is_superuser", "signs_in_with", "must_change_password")
    actions = ("sign_out_selected",)
    list_display = ("username", "first_name", "last_name", "email", "roles", "signs_in_with", "is_active", "is_superuser", "last_login")
    list_filter = ("groups", "is_active", "is_superuser", "last_login")
    search_fields = ("username", "first_name", "last_name", "email")
    date_hierarchy = "date_joined"
    filter_horizontal = ("groups",)
    readonly_fields = ("password_link", "last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "signs_in_with", "password_link", "must_change_password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Rights", {"fields": ("is_active", "is_superuser", "groups")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("username", "usable_password", "password1", "password2")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """With roles: one more query for the whole list."""
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="Roles and groups")
    def roles(self, obj: User) -> str:
        """Names of the groups."""
        return ", ".join(sorted(group.name for group in obj.groups.all())) or "–"

    @admin.display(description="Password")
    def password_link(self, obj: User) -> str:
        """Says whether there is one, and where to set another."""
        url = reverse("admin:auth_user_password_change", args=(obj.pk,))
        words = "A password is set." if obj.has_usable_password() else "No password: this account cannot sign in with one."
        return format_html('{} <a href="{}">Set another</a>', words, url)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Only superusers make superusers."""
        own = tuple(super().get_readonly_fields(request, obj))
        return own if request.user.is_superuser else (*own, "is_superuser")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers are changed by superusers: else an Admin could set a superuser's password."""
        return super().has_change_permission(request, obj) and (obj is None or not obj.is_superuser or request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes the account they are signed in with."""
        mine = obj is not None and obj.pk == request.user.pk
        return (
            super().has_delete_permission(request, obj) and not mine and (obj is None or not obj.is_superuser or request.user.is_superuser)
        )

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """No deletion in bulk: it would go past the rules above."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def audit_state(self, obj: User) -> dict[str, Any]:
        """With the roles."""
        return {**super().audit_state(obj), "groups": sorted(Group.objects.filter(user=obj).values_list("name", flat=True))}

    @admin.action(description="Sign selected people out everywhere", permissions=("change",))
    def sign_out_selected(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Sessions, signed tokens and tokens for scripts; superusers only by superusers."""
        for user in queryset:
            if self.has_change_permission(request, user):
                signout.everywhere(user, actor=actor_of(request), api_tokens=True)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Change and audit in one transaction."""
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


class GroupForm(forms.ModelForm):
    """The name of a group."""

    def clean_name(self) -> str:
        """As `people.create_role` wants it."""
        name: str = self.cleaned_data["name"]
        if why := idtext.flaw(name, "name of the group"):
            raise forms.ValidationError(why)
        return name


class RoleRightForm(forms.ModelForm):
    """One right of a role."""

    def clean(self) -> dict[str, Any]:
        """As `role_rights` wants it."""
        data: dict[str, Any] = super().clean() or {}
        if {"kind", "level"} <= data.keys():
            wrong = role_rights.flaw(data["kind"], data["level"], data.get("dag_id") or "")
            if wrong is not None:
                self.add_error(*wrong)
        return data


class RoleRightInline(admin.TabularInline):
    """What the role allows; with the rights on roles themselves."""

    model = RoleRight
    form = RoleRightForm
    extra = 1
    fields = ("kind", "level", "dag_id")
    verbose_name, verbose_name_plural = "right", "what it allows"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May read roles."""
        return policy.allowed(request.user, policy.READ, "role")  # type: ignore[arg-type]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May edit roles; the four that are always there stay as they are."""
        may = policy.allowed(request.user, policy.EDIT, "role")  # type: ignore[arg-type]
        return may and (obj is None or obj.name not in policy.ROLES)

    has_add_permission = has_delete_permission = has_change_permission


@admin.register(Group, site=site)
class GroupAdmin(PolicyAdmin, StockGroupAdmin):
    """Roles, and groups that `access_control` of DAG files may name."""

    kind = "role"
    audit_name = "group"
    form = GroupForm
    fields = ("name", "meaning")
    inlines = (RoleRightInline,)
    readonly_fields = ("meaning",)
    filter_horizontal = ()
    list_display = ("name", "meaning", "people")
    search_fields = ("name",)
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        """With the number of members."""
        return super().get_queryset(request).annotate(members=Count("user", distinct=True)).prefetch_related("rights")

    @admin.display(description="Meaning")
    def meaning(self, obj: Group) -> str:
        """What the role allows, in words."""
        own = ", ".join(role_rights.texts_of(obj)) if obj.pk else ""
        return ROLE_WORDS.get(obj.name, own or "Nothing of its own yet; rights on DAGs whose access_control names it.")

    def audit_state(self, obj: Group) -> dict[str, Any]:
        """Name and rights."""
        return {"name": obj.name, "rights": role_rights.texts_of(Group.objects.get(pk=obj.pk)) if obj.pk else []}

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        """The roles that are always there have fixed rights, said in words."""
        return () if obj is not None and obj.name in policy.ROLES else self.inlines

    @admin.display(description="Members", ordering="members")
    def people(self, obj: Any) -> int:
        """How many users are in it."""
        return int(obj.members)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Roles keep their names: the policy knows them by it."""
        return super().has_change_permission(request, obj) and (obj is None or obj.name not in policy.ROLES)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Roles stay."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.name not in policy.ROLES)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """No deletion in bulk: it would go past the rule above."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions


class TokenForm(forms.ModelForm):
    """A new token: whose, what for, limited to what, until when."""

    scopes = forms.MultipleChoiceField(
        choices=[(action, action) for action in sorted(policy.ACTIONS)],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="What it is limited to. None chosen: everything its owner may do.",
    )

    class Meta:
        model = ApiToken
        fields = ("user", "name", "scopes", "expires_at")

    def clean_expires_at(self) -> Any:
        """A token that ended before it began is a mistake."""
        value = self.cleaned_data["expires_at"]
        if value is not None and value <= now():
            raise forms.ValidationError("This moment is past. Leave empty for a token that does not expire.")
        return value


@admin.register(ApiToken, site=site)
class ApiTokenAdmin(PolicyAdmin):
    """Tokens for scripts: shown once when made, then only their prefix; revoked, not deleted."""

    kind = "token"
    audit_name = "api_token"
    form = TokenForm
    list_display = (
        "name",
        "prefix",
        "user_link",
        "scope_words",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )
    list_filter = (("revoked_at", admin.EmptyFieldListFilter), "created_at", "expires_at")
    search_fields = ("name", "prefix", "user__username")
    date_hierarchy = "created_at"
    list_select_related = ("user",)
    autocomplete_fields = ("user",)
    ordering = ("-created_at",)
    actions = ("revoke_selected",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """An existing token can be looked at."""
        if obj is None:
            return ("user", "name", "scopes", "expires_at")
        return ("name", "prefix", "user_link", "scope_words", "created_at", "expires_at", "last_used_at", "revoked_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Everything of an existing token."""
        return self.get_fields(request, obj) if obj is not None else ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A token is revoked and replaced, not changed."""
        return obj is None and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Revoked tokens stay, so that the trail keeps its names."""
        return False

    @admin.display(description="Owner", ordering="user__username")
    def user_link(self, obj: ApiToken) -> str:
        """The owner's page."""
        return admin_link(obj.user, obj.user.get_username())

    @admin.display(description="Limited to")
    def scope_words(self, obj: ApiToken) -> str:
        """Scopes, or that there are none."""
        return lines(sorted(obj.scopes)) if obj.scopes else "everything its owner may do"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """`tokens` makes it; the row stands in for the form's. The text lives until the answer is written."""
        text = tokens.make_api_token(obj.user, obj.name, scopes=form.cleaned_data["scopes"], expires_at=obj.expires_at)
        made = ApiToken.objects.get(prefix=text.removeprefix(tokens.PREFIX).partition("_")[0])
        obj.pk, obj.prefix, obj.secret_hash = made.pk, made.prefix, made.secret_hash
        obj._state.adding = False
        request.new_token = text  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The one page that shows the token: not by message or redirect, which would store it."""
        context = {
            **self.admin_site.each_context(request),
            "title": "New API token",
            "opts": self.opts,
            "token": request.new_token,  # type: ignore[attr-defined]
            "object": obj,
        }
        response = TemplateResponse(request, "admin/access/apitoken/made.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description="Revoke selected tokens", permissions=("add",))
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """They are refused from now on."""
        alive = list(queryset.select_for_update(of=("self",)).filter(revoked_at__isnull=True))
        ApiToken.objects.filter(pk__in=[token.pk for token in alive]).update(revoked_at=now())
        for token in alive:
            self.audit(request, "revoke", token)
        self.message_user(request, f"{len(alive)} revoked.", messages.SUCCESS)
