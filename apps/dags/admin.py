"""Administration of DAGs: to look at and search; pausing is the one thing people change here. Files decide the rest."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from apps.access import policy
from apps.access.adminbase import ReadOnlyAdmin, actor_of, admin_link, called, lines, list_link
from apps.access.adminsite import site
from apps.dags import catalogue
from apps.dags.models import Dag, DagFile, DagVersion, ImportProblem

called(Dag, "DAG", "DAGs")
called(DagFile, "DAG file", "DAG files")
called(DagVersion, "DAG version", "DAG versions")
called(ImportProblem, "import error", "import errors")


@admin.register(Dag, site=site)
class DagAdmin(ReadOnlyAdmin):
    """DAGs as their files describe them."""

    kind = "dag"
    audit_name = "dag"
    list_display = (
        "dag_id",
        "is_paused",
        "is_stale",
        "has_import_errors",
        "timetable_summary",
        "next_run_after",
        "relative_fileloc",
        "last_parsed_time",
    )
    list_filter = ("is_paused", "is_stale", "has_import_errors", ("tags__name", admin.AllValuesFieldListFilter))
    search_fields = ("dag_id", "dag_display_name", "description", "relative_fileloc")
    date_hierarchy = "created_at"
    list_select_related = ("file",)
    ordering = ("dag_id",)
    actions = ("pause", "unpause")
    fields = (
        "dag_id",
        "dag_display_name",
        "description",
        "is_paused",
        "is_stale",
        "has_import_errors",
        "blocked_reason",
        "owner_names",
        "tag_names",
        "timetable_summary",
        "timetable_description",
        "next_logical_date",
        "next_run_after",
        "start_date",
        "end_date",
        "catchup",
        "max_active_runs",
        "max_active_tasks",
        "file_link",
        "bundle_name",
        "last_parsed_time",
        "last_parse_duration",
        "versions_link",
        "created_at",
    )
    readonly_fields = ("owner_names", "tag_names", "file_link", "versions_link")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Dag]:
        """What the policy lets this person read."""
        return super().get_queryset(request).filter(policy.visible_dags(request.user))  # type: ignore[arg-type]

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """May edit DAGs."""
        return policy.allowed(request.user, policy.EDIT, "dag")  # type: ignore[arg-type]

    @admin.display(description="Owners")
    def owner_names(self, obj: Dag) -> str:
        """Owners of the tasks."""
        return ", ".join(obj.owners) or "–"

    @admin.display(description="Tags")
    def tag_names(self, obj: Dag) -> str:
        """Tags, one per line."""
        return lines(sorted(tag.name for tag in obj.tags.all())) or "–"

    @admin.display(description="File")
    def file_link(self, obj: Dag) -> str:
        """The file's row."""
        return admin_link(obj.file)

    @admin.display(description="Versions")
    def versions_link(self, obj: Dag) -> str:
        """All versions of this DAG."""
        return list_link(DagVersion, f"{obj.versions.count()} versions", dag__dag_id__exact=obj.pk)

    @admin.action(description="Pause selected DAGs", permissions=("pause",))
    def pause(self, request: HttpRequest, queryset: QuerySet[Dag]) -> None:
        """No new scheduled runs."""
        self._set_paused(request, queryset, True)

    @admin.action(description="Unpause selected DAGs", permissions=("pause",))
    def unpause(self, request: HttpRequest, queryset: QuerySet[Dag]) -> None:
        """Scheduled runs again."""
        self._set_paused(request, queryset, False)

    def _set_paused(self, request: HttpRequest, queryset: QuerySet[Dag], paused: bool) -> None:
        ids = list(queryset.values_list("pk", flat=True))
        catalogue.set_paused(ids, paused, actor=actor_of(request))
        self.message_user(request, f"{len(ids)} {'paused' if paused else 'unpaused'}.", messages.SUCCESS)


@admin.register(DagVersion, site=site)
class DagVersionAdmin(ReadOnlyAdmin):
    """Structures a DAG has had."""

    kind = "version"
    audit_name = "dag_version"
    list_display = ("dag_link", "number", "created_at", "last_updated", "bundle_name", "bundle_version", "run_count")
    list_display_links = ("number",)
    search_fields = ("dag__dag_id",)
    date_hierarchy = "created_at"
    list_select_related = ("dag",)
    ordering = ("-created_at",)
    fields = (
        "dag_link",
        "number",
        "created_at",
        "last_updated",
        "bundle_name",
        "bundle_version",
        "spec_hash",
        "file_hash",
    )
    readonly_fields = ("dag_link",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[DagVersion]:
        """Without the large columns; what the policy lets this person read."""
        found = super().get_queryset(request).filter(policy.visible_dags(request.user, "dag"))  # type: ignore[arg-type]
        return found.defer("spec", "source").annotate(run_number=Count("runs"))

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Lists of one DAG are linked from its page."""
        return lookup == "dag__dag_id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(description="DAG", ordering="dag_id")
    def dag_link(self, obj: DagVersion) -> str:
        """The DAG's page."""
        return admin_link(obj.dag)

    @admin.display(description="Runs", ordering="run_number")
    def run_count(self, obj: Any) -> int:
        """Runs of this version."""
        return int(obj.run_number)


@admin.register(DagFile, site=site)
class DagFileAdmin(ReadOnlyAdmin):
    """Files of the DAG folders and their last parse."""

    kind = "source"
    audit_name = "dag_file"
    list_display = (
        "relative_path",
        "bundle_name",
        "dag_count",
        "size",
        "last_parsed_at",
        "last_duration",
        "problem_count",
    )
    list_filter = ("bundle_name", "last_parsed_at")
    search_fields = ("relative_path",)
    date_hierarchy = "last_parsed_at"
    ordering = ("relative_path",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[DagFile]:
        """With the number of import errors."""
        return super().get_queryset(request).annotate(problem_number=Count("problems"))

    @admin.display(description="Import errors", ordering="problem_number")
    def problem_count(self, obj: Any) -> int:
        """How many import errors its last parse left."""
        return int(obj.problem_number)


@admin.register(ImportProblem, site=site)
class ImportProblemAdmin(ReadOnlyAdmin):
    """Why files gave no DAGs."""

    kind = "import_error"
    audit_name = "import_error"
    list_display = ("file", "message", "lineno", "dag_id", "at")
    list_display_links = ("message",)
    search_fields = ("file__relative_path", "message", "dag_id")
    date_hierarchy = "at"
    list_select_related = ("file",)
    ordering = ("-at",)
