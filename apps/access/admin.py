"""Administration of connections, variables and the audit trail. Next door: `admin_people.py` (users, roles, tokens).

Secrets go in and never come out: forms in `connection_form.py` and `variable_form.py`; lists do not even load them.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import path

from apps.access import (
    admin_people,  # noqa: F401 - registers users, groups and tokens
    exporting,
    policy,
    team_calls,
    variable_files,
)
from apps.access.adminbase import PolicyAdmin, ReadOnlyAdmin, actor_of, pretty
from apps.access.adminsite import site
from apps.access.audit import record
from apps.access.connection_form import PREFIX, ConnectionForm, typed_form
from apps.access.connection_probe import probe
from apps.access.crypto import WrongKey, decrypt
from apps.access.errors import Refused
from apps.access.models import AuditEvent, Connection, Team, TeamMember, Variable
from apps.access.provider_types import type_of
from apps.access.team_form import TeamForm
from apps.access.variable_form import VariableForm, format_words, is_secret


@admin.register(Connection, site=site)
class ConnectionAdmin(PolicyAdmin):
    """Typed connections. The type decides labels and extra fields; `?conn_type=` shows another type's form."""

    kind = "connection"
    audit_name = "connection"
    audit_fields = ("conn_type", "description", "host", "port", "schema", "login", "team_name")
    form = ConnectionForm
    list_display = ("conn_id", "conn_type", "description", "host", "port", "has_password", "has_extra", "updated_at")
    list_filter = ("conn_type", ("team_name", admin.EmptyFieldListFilter), "updated_at")
    search_fields = ("conn_id", "conn_type", "description", "host", "login")
    search_help_text = "Id, type, description, host or login."
    date_hierarchy = "updated_at"
    actions = ("test_selected",)

    class Media:
        js = ("admin_connection.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        """Without the secrets: they are loaded one by one, by the form, to say whether something is stored."""
        return (
            super()
            .get_queryset(request)
            .defer("password", "extra")
            .annotate(
                with_password=ExpressionWrapper(Q(password__isnull=False), output_field=BooleanField()),
                with_extra=ExpressionWrapper(Q(extra__isnull=False), output_field=BooleanField()),
            )
        )

    @admin.display(description="Password", boolean=True, ordering="with_password")
    def has_password(self, obj: Any) -> bool:
        """Whether one is stored."""
        return bool(obj.with_password)

    @admin.display(description="Extra", boolean=True, ordering="with_extra")
    def has_extra(self, obj: Any) -> bool:
        """Whether something is stored."""
        return bool(obj.with_extra)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """DAGs refer to the id: it cannot change."""
        return ("conn_id",) if obj else ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The form of the type that was sent, asked for, or stored."""
        kwargs.setdefault("form", typed_form(_wanted_type(request, obj)))
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Identity, the fields of the type, extra."""
        kind = type_of(_wanted_type(request, obj))
        plain = [name for name in ("host", "port", "schema", "login") if getattr(kind, name) or getattr(obj, name, None)]
        password = ["new_password", *(["clear_password"] if obj else [])] if kind.password or obj else []
        return (
            (None, {"fields": ("conn_id", "conn_type", "description", "team_name")}),
            (kind.name, {"fields": [*plain, *password, *(PREFIX + extra.key for extra in kind.extras)]}),
            ("Extra", {"fields": ["new_extra", *(["clear_extra"] if obj else [])]}),
        )

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What was typed before another type was chosen; never a secret."""
        kept = ("conn_id", "conn_type", "description", "host", "port", "schema", "login", "team_name")
        return {name: request.GET[name] for name in kept if name in request.GET}

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Deferred secrets stay unread and unwritten."""
        obj.save()

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Tests only where the installation allows them."""
        actions = super().get_actions(request)
        if not _tests_allowed():
            actions.pop("test_selected", None)
        return actions

    @admin.action(description="Test selected connections", permissions=("change",))
    def test_selected(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        """From this server, which may reach other systems than workers do; off unless TRACKSIDE_TEST_CONNECTION is set."""
        for found in queryset[:20]:
            ok, words = probe(found)
            record(
                "test_connection",
                actor_of(request),
                object_type="connection",
                object_id=found.conn_id,
                extra={"ok": ok},
            )
            self.message_user(request, f"{found.conn_id}: {words}", messages.SUCCESS if ok else messages.ERROR)


def _tests_allowed() -> bool:
    return bool(getattr(settings, "TEST_CONNECTION", False))


def _wanted_type(request: HttpRequest, obj: Connection | None) -> str:
    sent = request.POST.get("conn_type") if request.method == "POST" else request.GET.get("conn_type")
    return sent or (obj.conn_type if obj else "postgres")


@admin.register(Variable, site=site)
class VariableAdmin(PolicyAdmin):
    """Variables; values of keys that name a secret are write-only."""

    kind = "variable"
    audit_name = "variable"
    audit_fields = ("description", "team_name")
    form = VariableForm
    list_display = ("key", "shown_value", "format", "description", "updated_at")
    list_filter = (("team_name", admin.EmptyFieldListFilter), "updated_at")
    search_fields = ("key", "description")
    search_help_text = "Key or description. Values are encrypted and cannot be searched."
    date_hierarchy = "updated_at"
    actions = ("export_selected",)

    def get_urls(self) -> list[Any]:
        """With the page for an import."""
        return [path("import/", site.admin_view(self.import_file), name="access_variable_import"), *super().get_urls()]

    @admin.action(description="Export selected as JSON", permissions=("view",))
    def export_selected(self, request: HttpRequest, queryset: QuerySet[Variable]) -> HttpResponse:
        """Secrets masked; what the import reads again."""
        text = variable_files.export(Variable.objects.filter(pk__in=queryset.values("pk")))
        headers = {"Content-Disposition": 'attachment; filename="variables.json"', "Cache-Control": "no-store"}
        return HttpResponse(text, content_type="application/json", headers=headers)

    def import_file(self, request: HttpRequest) -> HttpResponse:
        """A JSON file of variables."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = variable_files.ImportForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            user: Any = request.user
            mine = None if policy.allowed(user, policy.EDIT, self.kind) else policy.teams_for(user, policy.EDIT, self.kind)
            try:
                rows = variable_files.read(form.cleaned_data["file"].read())
                done = variable_files.bring_in(rows, form.cleaned_data["existing"], actor=actor_of(request), teams=mine)
            except Refused as e:
                form.add_error(e.field if e.field in form.fields else "file", e.detail)
            else:
                self.message_user(request, f"Variables: {done}", messages.SUCCESS)
                return redirect("admin:access_variable_changelist")
        context = {**site.each_context(request), "title": "Import variables", "form": form, "opts": self.model._meta}
        return render(request, "admin/access/variable/import.html", context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Variable]:
        """The value as it is stored, so that one that cannot be decrypted does not take the list with it."""
        return super().get_queryset(request).defer("value").annotate(ciphertext=Cast("value", TextField()))

    @admin.display(description="Value")
    def shown_value(self, obj: Any) -> str:
        """The beginning of the value, dots for a secret."""
        value, broken = _read(obj)
        if broken:
            return "cannot be decrypted"
        if is_secret(obj.key, value):
            return "••••••" if value else "empty"
        return value[:80] + ("…" if len(value) > 80 else "")

    @admin.display(description="Format")
    def format(self, obj: Any) -> str:
        """Text or JSON."""
        value, broken = _read(obj)
        return "–" if broken else format_words(value)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A new name could turn a secret into something shown: the key cannot change."""
        return ("key",) if obj else ()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The box that empties a value is only there for values that are not shown."""
        fields = ["key", "description"]
        if self.has_change_permission(request, obj):
            fields.append("new_value")
            if obj is not None and _hidden(obj):
                fields.append("clear_value")
        return ((None, {"fields": [*fields, "team_name"]}),)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """A value that was not touched stays unread and unwritten."""
        obj.save()


def _read(obj: Any) -> tuple[str, bool]:
    """The value of a listed row without another query; (text, cannot be decrypted)."""
    try:
        return (decrypt(obj.ciphertext) if obj.ciphertext else ""), False
    except WrongKey:
        return "", True


def _hidden(obj: Variable) -> bool:
    try:
        return is_secret(obj.key, obj.value)
    except WrongKey:
        return True


class TeamMemberInline(admin.TabularInline):
    """Who has which role on what the team owns; with the team's own rights."""

    model = TeamMember
    extra = 1
    fields = ("user", "role")
    verbose_name, verbose_name_plural = "member", "members"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May read teams."""
        return policy.allowed(request.user, policy.READ, "team")  # type: ignore[arg-type]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May edit teams."""
        return policy.allowed(request.user, policy.EDIT, "team")  # type: ignore[arg-type]

    has_add_permission = has_delete_permission = has_change_permission


@admin.register(Team, site=site)
class TeamAdmin(PolicyAdmin):
    """Which folders and tags are whose, and who is a member. Decides who gets which secrets, so it is for administrators."""

    kind = "team"
    audit_name = "team"
    form = TeamForm
    fields = ("name", "folders", "tags")
    inlines = (TeamMemberInline,)
    list_display = ("name", "shown_folders", "shown_tags")
    search_fields = ("name",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Connections, variables and pools refer to the name: it cannot change."""
        return ("name",) if obj else ()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A team stays while something would be left without an owner."""
        to_delete, counts, needed, protected = super().get_deleted_objects(objs, request)
        left = [f"{thing} (of team {team.name})" for team in objs for thing in team_calls.what_names(team.name)]
        return to_delete, counts, needed, [*protected, *left]

    def audit_state(self, obj: Team) -> dict[str, Any]:
        """With the members."""
        return team_calls.state_of(obj)

    @admin.display(description="Folders")
    def shown_folders(self, obj: Any) -> str:
        """In one line."""
        return ", ".join(obj.folders) or "–"

    @admin.display(description="Tags")
    def shown_tags(self, obj: Any) -> str:
        """In one line."""
        return ", ".join(obj.tags) or "–"


@admin.register(AuditEvent, site=site)
class AuditEventAdmin(ReadOnlyAdmin):
    """Who changed what. Append-only."""

    kind = "audit"
    audit_name = "audit_event"
    list_display = ("at", "actor", "means", "address", "action", "object_type", "object_id", "dag_id", "run_id", "task_id")
    list_filter = ("means", "object_type", "at")
    search_fields = ("actor", "action", "dag_id", "run_id", "task_id", "object_id")
    search_help_text = "Who, what, or the id of a DAG, run, task or object."
    actions = ("export_csv", "export_json")
    date_hierarchy = "at"
    ordering = ("-at", "-id")
    readonly_fields = ("details",)
    fields = (
        "at",
        "actor",
        "means",
        "address",
        "action",
        "object_type",
        "object_id",
        "dag_id",
        "run_id",
        "task_id",
        "map_index",
        "try_number",
        "logical_date",
        "details",
    )

    @admin.display(description="Details")
    def details(self, obj: AuditEvent) -> str:
        """Before and after, the request; masked once more."""
        return pretty(obj.extra)

    @admin.action(description="Export selected as CSV", permissions=("view",))
    def export_csv(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> StreamingHttpResponse:
        """What is selected, or with "select all" everything the filters leave."""
        return exporting.csv_of(queryset)

    @admin.action(description="Export selected as JSON lines", permissions=("view",))
    def export_json(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> StreamingHttpResponse:
        """One event per line."""
        return exporting.json_lines_of(queryset)
