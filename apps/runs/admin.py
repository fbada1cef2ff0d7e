"""Administration of pools, and the ledger to look at: runs, task instances, tries, processes.

State is written by `transitions` alone, so nothing of the ledger can be changed here: the pages and REST do that by
domain calls. Values of user code (XComs, rendered fields, trigger arguments) are left out: they may hold secrets.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest
from django.utils.html import format_html

from apps.access import policy
from apps.access.adminbase import PolicyAdmin, ReadOnlyAdmin, actor_of, admin_link, called, list_link, pretty
from apps.access.adminsite import site
from apps.runs.actions import pools
from apps.runs.models import Pool, Process, Run, TaskInstance, Try
from trackside.core import idtext

called(Process, "process", "processes")
called(Try, "try", "tries")
_HOLDS_SLOTS = ("queued", "running", "restarting")


class PoolForm(forms.ModelForm):
    """Slots and what they are for."""

    class Meta:
        model = Pool
        fields = ("name", "slots", "description", "include_deferred", "team_name")
        widgets = {"description": forms.TextInput(attrs={"class": "vTextField"})}

    def clean_name(self) -> str:
        """As the domain call wants it."""
        name: str = self.cleaned_data["name"]
        if why := idtext.flaw(name, "name of the pool"):
            raise forms.ValidationError(why)
        return name

    def clean_slots(self) -> int:
        """-1 is no limit; less means nothing."""
        slots: int = self.cleaned_data["slots"]
        if slots < -1:
            raise forms.ValidationError("Slots are 0 or more, or -1 for no limit.")
        return slots


def _state(state: str | None) -> str:
    return format_html('<span class="st st-{}">{}</span>', state or "none", (state or "none").replace("_", " "))


@admin.register(Pool, site=site)
class PoolAdmin(PolicyAdmin):
    """Pools. A change wakes the scheduler (`pools` does): tasks that waited for a slot may go on."""

    kind = "pool"
    audit_name = "pool"
    form = PoolForm
    list_display = ("name", "slots", "used", "include_deferred", "description")
    list_filter = ("include_deferred", ("team_name", admin.EmptyFieldListFilter))
    search_fields = ("name", "description")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pool]:
        """With the slots in use, counted from live rows."""
        held = TaskInstance.objects.filter(pool=OuterRef("name"), state__in=_HOLDS_SLOTS).order_by().values("pool")
        return super().get_queryset(request).annotate(slots_used=Subquery(held.annotate(n=Sum("pool_slots")).values("n")))

    @admin.display(description="Slots in use", ordering="slots_used")
    def used(self, obj: Any) -> int:
        """Held by queued and running tasks."""
        return obj.slots_used or 0

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """DAG files name the pool: it keeps its name. The default pool keeps its description, too."""
        if obj is None:
            return ()
        return ("name", "description", "team_name") if obj.name == pools.DEFAULT_POOL else ("name",)

    def audit(self, request: HttpRequest, verb: str, obj: Any, message: Any = None) -> None:
        """Done by the domain calls below."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """One domain call, which audits and wakes the scheduler."""
        if change:
            pools.update(obj.name, {name: form.cleaned_data[name] for name in form.changed_data}, actor=actor_of(request))
            return
        values = {name: value for name, value in form.cleaned_data.items() if name != "name"}
        made = pools.create(obj.name, values, actor=actor_of(request))
        obj.pk, obj._state.adding = made.pk, False

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """One domain call."""
        pools.delete(obj.name, actor=actor_of(request))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """No deletion in bulk: it would take the default pool along."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The default pool stays."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.name != pools.DEFAULT_POOL)


@admin.register(Run, site=site)
class RunAdmin(ReadOnlyAdmin):
    """Runs, newest first."""

    kind = "run"
    audit_name = "dag_run"
    list_display = ("run_id", "dag_link", "shown_state", "run_type", "run_after", "start_date", "end_date", "reason")
    list_filter = ("state", "run_type", "run_after")
    search_fields = ("run_id", "dag__dag_id")
    date_hierarchy = "run_after"
    list_select_related = ("dag",)
    ordering = ("-run_after", "-id")
    fields = (
        "run_id",
        "dag_link",
        "shown_state",
        "reason",
        "run_type",
        "triggered_by",
        "triggering_user_name",
        "logical_date",
        "data_interval_start",
        "data_interval_end",
        "run_after",
        "queued_at",
        "start_date",
        "end_date",
        "version_link",
        "clear_number",
        "note",
        "shown_conf",
        "tasks_link",
    )
    readonly_fields = ("dag_link", "shown_state", "version_link", "shown_conf", "tasks_link")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """What the policy lets this person read."""
        return super().get_queryset(request).filter(policy.visible_dags(request.user, "dag"))  # type: ignore[arg-type]

    @admin.display(description="DAG", ordering="dag_id")
    def dag_link(self, obj: Run) -> str:
        """The DAG's page."""
        return admin_link(obj.dag)

    @admin.display(description="State", ordering="state")
    def shown_state(self, obj: Run) -> str:
        """Colour and word."""
        return _state(obj.state)

    @admin.display(description="Version")
    def version_link(self, obj: Run) -> str:
        """The DAG version it ran with."""
        return admin_link(obj.dag_version)

    @admin.display(description="Conf")
    def shown_conf(self, obj: Run) -> str:
        """Masked."""
        return pretty(obj.conf)

    @admin.display(description="Tasks")
    def tasks_link(self, obj: Run) -> str:
        """Its task instances."""
        return list_link(TaskInstance, f"{obj.task_instances.count()} task instances", run__id__exact=obj.pk)


@admin.register(TaskInstance, site=site)
class TaskInstanceAdmin(ReadOnlyAdmin):
    """Task instances."""

    kind = "task"
    audit_name = "task_instance"
    list_display = (
        "task_id",
        "map_index",
        "shown_state",
        "run_link",
        "dag_id",
        "try_number",
        "pool",
        "start_date",
        "duration",
        "reason",
    )
    list_filter = ("state", "pool", "start_date")
    search_fields = ("dag_id", "task_id", "run__run_id")
    date_hierarchy = "start_date"
    list_select_related = ("run",)
    ordering = ("-id",)
    fields = (
        "dag_id",
        "run_link",
        "task_id",
        "map_index",
        "shown_state",
        "reason",
        "try_number",
        "max_tries",
        "infra_failures",
        "operator",
        "pool",
        "pool_slots",
        "queue",
        "priority_weight",
        "executor",
        "hostname",
        "pid",
        "scheduled_at",
        "queued_at",
        "start_date",
        "end_date",
        "duration",
        "next_at",
        "reschedules",
        "note",
        "tries_link",
    )
    readonly_fields = ("run_link", "shown_state", "tries_link")

    def get_queryset(self, request: HttpRequest) -> QuerySet[TaskInstance]:
        """What the policy lets this person read; without values of user code."""
        found = super().get_queryset(request).filter(policy.visible_dags(request.user, "run__dag"))  # type: ignore[arg-type]
        return found.defer("rendered_fields", "next_kwargs")

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Lists of one run are linked from its page."""
        return lookup == "run__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(description="Run", ordering="run_id")
    def run_link(self, obj: TaskInstance) -> str:
        """The run's page."""
        return admin_link(obj.run, obj.run.run_id)

    @admin.display(description="State", ordering="state")
    def shown_state(self, obj: TaskInstance) -> str:
        """Colour and word."""
        return _state(obj.state)

    @admin.display(description="Tries")
    def tries_link(self, obj: TaskInstance) -> str:
        """Its tries."""
        return list_link(Try, f"{obj.tries.count()} tries", ti__id__exact=obj.pk)


@admin.register(Try, site=site)
class TryAdmin(ReadOnlyAdmin):
    """Tries: which worker, how it ended."""

    kind = "task"
    audit_name = "try"
    list_display = (
        "task_link",
        "number",
        "shown_state",
        "final_state",
        "queued_at",
        "start_date",
        "duration",
        "worker",
        "exit_code",
        "error",
    )
    list_display_links = ("number",)
    list_filter = ("state", "final_state", "executor", "queued_at")
    search_fields = ("ti__dag_id", "ti__task_id", "ti__run__run_id")
    date_hierarchy = "queued_at"
    list_select_related = ("ti", "worker")
    ordering = ("-queued_at",)
    fields = (
        "id",
        "task_link",
        "number",
        "shown_state",
        "final_state",
        "error",
        "retry_reason",
        "exit_code",
        "signal",
        "executor",
        "queue",
        "worker",
        "hostname",
        "pid",
        "queued_at",
        "start_date",
        "end_date",
        "duration",
        "heartbeat_at",
        "kill_confirmed",
        "log_size",
        "log_ended",
    )
    readonly_fields = ("task_link", "shown_state")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Try]:
        """What the policy lets this person read; without snapshots and token hashes."""
        found = super().get_queryset(request).filter(policy.visible_dags(request.user, "ti__run__dag"))  # type: ignore[arg-type]
        return found.defer("snapshot", "token_hash", "ti__rendered_fields", "ti__next_kwargs")

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Lists of one task instance are linked from its page."""
        return lookup == "ti__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(description="Task instance")
    def task_link(self, obj: Try) -> str:
        """The task instance's page."""
        return admin_link(obj.ti)

    @admin.display(description="State", ordering="state")
    def shown_state(self, obj: Try) -> str:
        """Colour and word."""
        return _state(obj.state)


@admin.register(Process, site=site)
class ProcessAdmin(ReadOnlyAdmin):
    """Schedulers, workers and other parts, and when each was last heard."""

    kind = "monitor"
    audit_name = "process"
    list_display = (
        "kind",
        "name",
        "hostname",
        "pid",
        "version",
        "started_at",
        "heartbeat_at",
        "lease_until",
        "ended_at",
        "slots",
    )
    list_filter = ("kind", ("ended_at", admin.EmptyFieldListFilter))
    search_fields = ("kind", "name", "hostname")
    date_hierarchy = "started_at"
    ordering = ("-started_at",)
    fields = (
        "id",
        "kind",
        "name",
        "hostname",
        "pid",
        "version",
        "started_at",
        "heartbeat_at",
        "lease_until",
        "ended_at",
        "slots",
        "queues",
        "info",
    )
