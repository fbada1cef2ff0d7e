"""REST: DAGs, their details, pausing, favourites."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, F, Func, JSONField, OuterRef, Q, QuerySet, Subquery, TextField, Value
from django.db.models.fields.json import KeyTransform

from apps.access import policy
from apps.access.rest.body import Body
from apps.access.rest.errors import Problem, bad_request, conflict_of
from apps.access.rest.fields import anything, constant, flag, listed, moment, nested, number, text, texts, whole
from apps.access.rest.filters import Custom, Declared, Equals, Filter, Pattern, Range, Values
from apps.access.rest.operations import Call, operation
from apps.access.rest.paging import PAGE
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource
from apps.dags.api.fields import TAG_FIELDS, VERSION_FIELDS, file_token, iso_duration
from apps.dags.api.lookups import the_dag
from apps.dags.asset_models import AssetUse
from apps.dags.models import Dag, DagFavorite, DagTag
from trackside.core.states import RunState
from trackside.core.timetables import from_dict
from trackside.core.timetables.base import InvalidSchedule


class Tags(Filter):
    """`tags`, repeatable, and `tags_match_mode` (any, all)."""

    params = (Param("tags", many=True), Param("tags_match_mode", help="any (default) or all"))

    def narrow(self, rows: QuerySet[Any], values: Values) -> QuerySet[Any]:
        names = values.get("tags")
        mode = values.get("tags_match_mode") or "any"
        if mode not in ("any", "all"):
            raise Problem(422, [{"type": "enum", "loc": ["query", "tags_match_mode"], "msg": "Input should be 'any' or 'all'"}])
        if not names:
            return rows
        if mode == "any":
            return rows.filter(Exists(DagTag.objects.filter(dag=OuterRef("pk"), name__in=names)))
        for name in names:
            rows = rows.filter(Exists(DagTag.objects.filter(dag=OuterRef("pk"), name=name)))
        return rows


class RunDates(Range):
    """DAGs whose latest run started (ended) in the range."""

    def narrow(self, rows: QuerySet[Any], values: Values) -> QuerySet[Any]:
        if not any(values.get(p.name) for p in self.params):
            return rows
        latest = Subquery(_runs().filter(dag=OuterRef("dag")).order_by("-id").values("pk")[:1])
        return rows.filter(Exists(super().narrow(_runs().filter(dag=OuterRef("pk"), pk=latest), values)))


def _runs() -> QuerySet[Any]:
    """Runs live in the app above this one; the DAG list filters by them all the same."""
    return apps.get_model("runs", "Run").objects.all()


def _last_run(field: str) -> Subquery:
    return Subquery(_runs().filter(dag=OuterRef("pk")).order_by("-id").values(field)[:1])


@lru_cache(maxsize=4096)
def _periodic(timetable: str) -> bool:
    try:
        return from_dict(json.loads(timetable)).periodic
    except InvalidSchedule:
        return False


def is_periodic(dag: Dag) -> bool:
    """Whether runs keep coming by the clock: then the DAG can also be backfilled."""
    return _periodic(json.dumps(dag.timetable, sort_keys=True))


def is_partitioned(dag: Dag) -> bool:
    """Whether the timetable gives runs a partition key."""
    return "partition" in str(dag.timetable.get("kind", ""))


def can_backfill(dag: Dag) -> bool:
    """Periodic, and backfill runs are not excluded by the DAG's file."""
    kinds = dag.allowed_run_types  # type: ignore[attr-defined]
    return is_periodic(dag) and (kinds is None or "backfill" in kinds)


def tags_of(dag: Any) -> list[DagTag]:
    """The tags `attach_tags` brought, else asked for."""
    known: list[DagTag] | None = getattr(dag, "shown_tags", None)
    return list(dag.tags.select_related("dag")) if known is None else known


def attach_tags(dags: list[Any], call: Call) -> None:
    """Give each DAG of a page its tags: one statement (a prefetch makes a manager for every row, which costs more than the rest)."""
    by_id = {dag.dag_id: dag for dag in dags}
    for dag in dags:
        dag.shown_tags = []
    for tag in DagTag.objects.filter(dag__in=list(by_id)).order_by("id"):
        tag.dag = by_id[tag.dag_id]
        tag.dag.shown_tags.append(tag)  # type: ignore[attr-defined]


FIELDS = (
    text("dag_id"),
    text("dag_display_name"),
    flag("is_paused"),
    flag("is_stale"),
    moment("last_parsed_time"),
    number("last_parse_duration", null=True),
    constant("last_expired"),
    text("bundle_name", null=True),
    text("bundle_version", null=True),
    text("relative_fileloc", null=True),
    text("fileloc"),
    text("description", null=True),
    text("timetable_summary", null=True),
    text("timetable_description", null=True),
    flag("timetable_partitioned", is_partitioned),
    flag("timetable_periodic", is_periodic),
    listed("tags", TAG_FIELDS, tags_of),
    whole("max_active_tasks"),
    whole("max_active_runs", null=True),
    whole("max_consecutive_failed_dag_runs"),
    flag("has_task_concurrency_limits"),
    flag("has_import_errors"),
    moment("next_dagrun_logical_date", "next_logical_date"),
    moment("next_dagrun_data_interval_start", "next_interval_start"),
    moment("next_dagrun_data_interval_end", "next_interval_end"),
    moment("next_dagrun_run_after", "next_run_after"),
    texts("allowed_run_types", null=True),
    texts("owners"),
    flag("is_backfillable", can_backfill),
    text("file_token", lambda d: file_token(d.bundle_name, d.relative_fileloc)),
)

DETAIL_FIELDS = (
    *FIELDS,
    flag("catchup"),
    text("dag_run_timeout", lambda d: iso_duration(d.dagrun_timeout), null=True),
    anything("asset_expression", lambda d: d.spec.get("asset_expression")),
    text("doc_md", lambda d: d.spec.get("doc_md"), null=True),
    moment("start_date"),
    moment("end_date"),
    flag("is_paused_upon_creation", lambda d: d.spec.get("is_paused_upon_creation"), null=True),
    anything("params", lambda d: wire_params(d.spec.get("params") or {})),
    flag("render_template_as_native_obj", lambda d: d.spec.get("render_template_as_native_obj", False)),
    texts("template_search_path", lambda d: d.spec.get("template_searchpath"), null=True),
    constant("timezone", "UTC"),  # Airflow 3.3 answers UTC whatever the zone of the DAG
    moment("last_parsed", "last_parsed_time"),
    anything("default_args", lambda d: d.spec.get("default_args") or {}),
    flag("rerun_with_latest_version", lambda d: d.spec.get("rerun_with_latest_version"), null=True),
    anything("owner_links", lambda d: d.spec.get("owner_links") or {}),
    flag("is_favorite"),
    whole("active_runs_count"),
    whole("concurrency", "max_active_tasks"),
    nested("latest_dag_version", VERSION_FIELDS, "current_version"),
)


def wire_params(params: dict[str, Any]) -> dict[str, Any]:
    """Params as clients read them; one without a default has the value null."""
    return {
        name: {
            "value": p.get("value"),
            "schema": p.get("schema") or {},
            "description": p.get("description"),
            "source": p.get("source"),
        }
        for name, p in params.items()
    }


def _rows(call: Call) -> QuerySet[Dag]:
    rows = Dag.objects.filter(policy.visible_dags(call.user))
    rows = rows.annotate(allowed_run_types=KeyTransform("allowed_run_types", "current_version__spec", output_field=JSONField()))
    favorite = call.query.get("is_favorite")
    if favorite is not None:
        mine = Exists(DagFavorite.objects.filter(dag=OuterRef("pk"), user=call.user))
        rows = rows.filter(mine if favorite else ~mine)
    if any(word.lstrip("-") in _RUN_ORDERS for word in call.query.get("order_by") or ()):
        rows = rows.alias(last_run_state=_last_run("state"), last_run_start_date=_last_run("start_date"))
    return rows


_RUN_ORDERS = {
    "last_run_state": "last_run_state",
    "last_run_start_date": "last_run_start_date",
    "state": "last_run_state",
    "start_date": "last_run_start_date",
}


def _by_last_state(rows: QuerySet[Any], state: str) -> QuerySet[Any]:
    return rows.alias(last_state=_last_run("state")).filter(last_state=state)


def _by_owners(rows: QuerySet[Any], owners: list[str]) -> QuerySet[Any]:
    """Any of these texts somewhere in the owners, as they are shown (`ann, bob`); nothing is a wildcard."""
    shown = Func(F("owners"), Value(", "), function="array_to_string", output_field=TextField())
    wanted = Q(pk__in=())
    for owner in owners:
        wanted |= Q(shown_owners__icontains=owner)
    return rows.alias(shown_owners=shown).filter(wanted)


def _by_asset(rows: QuerySet[Any], part: str) -> QuerySet[Any]:
    """DAGs that wait for an asset with such a name or URI."""
    uses = AssetUse.objects.filter(dag=OuterRef("pk"), kind=AssetUse.SCHEDULE)
    return rows.filter(Exists(uses.filter(Q(asset__name__icontains=part) | Q(asset__uri__icontains=part))))


def _by_assets(rows: QuerySet[Any], wanted: bool) -> QuerySet[Any]:
    by_asset = Q(timetable__kind__in=("asset", "asset_or_time", "partitioned_asset"))
    return rows.filter(by_asset) if wanted else rows.exclude(by_asset)


def _by_timetable(rows: QuerySet[Any], names: list[str]) -> QuerySet[Any]:
    """Timetables that come with Trackside go by their class name, others by their whole path (Airflow's rule)."""
    wanted = Q(pk__in=())
    for name in names:
        if "." not in name:
            wanted |= Q(timetable_type__endswith=f".{name}", timetable_type__startswith=_BUILT_IN)
        elif not name.startswith(_BUILT_IN):
            wanted |= Q(timetable_type=name)
    return rows.filter(wanted)


_BUILT_IN = "airflow.timetables."


def _without_stale(rows: QuerySet[Any], wanted: bool) -> QuerySet[Any]:
    return rows.filter(is_stale=False) if wanted else rows


_SELECTION: tuple[Filter, ...] = (
    Tags(),
    Custom(Param("owners", many=True), _by_owners),
    Pattern("dag_id"),
    Custom(Param("exclude_stale", bool, True), _without_stale),
    Equals("paused", "is_paused", bool),
)
"""Filters that PATCH /dags has too."""

DAGS = Resource(
    "dags",
    rows=_rows,
    fields=FIELDS,
    attach=attach_tags,
    filters=(
        *_SELECTION,
        Pattern("dag_display_name"),
        Equals("has_import_errors", kind=bool),
        Custom(Param("last_dag_run_state", RunState), _by_last_state),
        Equals("bundle_name"),
        Equals("bundle_version"),
        Custom(Param("has_asset_schedule", bool), _by_assets),
        Custom(Param("asset_dependency"), _by_asset),
        RunDates("dag_run_start_date", "start_date"),
        RunDates("dag_run_end_date", "end_date"),
        Custom(
            Param("dag_run_state", RunState),
            lambda rows, state: rows.filter(Exists(_runs().filter(dag=OuterRef("pk"), state=state))),
        ),
        Declared(Param("is_favorite", bool)),
        Custom(Param("timetable_type", many=True), _by_timetable),
    ),
    orders={"dag_id": "dag_id", "dag_display_name": "dag_display_name", "next_dagrun": "next_run_after", **_RUN_ORDERS},
    default_order=("dag_id",),
)
DAG_DETAILS = Resource("dags", fields=DETAIL_FIELDS, attach=attach_tags)
SELECTED_DAGS = Resource(
    "dags", rows=_rows, fields=FIELDS, attach=attach_tags, filters=_SELECTION, orders={"dag_id": "dag_id"}, default_order=("dag_id",)
)


class DagPatchBody(Body):
    """What can be changed about a DAG."""

    is_paused: bool


MASK = Param("update_mask", many=True)


@operation("GET /dags", may=("read", "dag"), query=DAGS.query, returns=DAGS.list_schema, filtered=True)
def get_dags(call: Call) -> dict[str, Any]:
    """List DAGs; stale ones only with exclude_stale=false."""
    return DAGS.page(call)


def _fresh(call: Call, dag_id: str) -> dict[str, Any]:
    dag = _rows(call).filter(pk=dag_id).first()
    if dag is None:
        raise Problem(404, f"The Dag with ID: `{dag_id}` was not found")
    return DAGS.one(dag, call)


@operation("GET /dags/{dag_id}", may=("read", "dag"), returns=DAGS.schema)
def get_dag(call: Call, dag_id: str) -> dict[str, Any]:
    """One DAG."""
    return _fresh(call, dag_id)


@operation("GET /dags/{dag_id}/details", may=("read", "dag"), returns=DAG_DETAILS.schema)
def get_dag_details(call: Call, dag_id: str) -> dict[str, Any]:
    """One DAG with everything its file said."""
    active = Count("runs", filter=Q(runs__state__in=(RunState.QUEUED, RunState.RUNNING)))
    rows = _rows(call).filter(pk=dag_id).select_related("current_version__dag").defer("current_version__source")
    mine = Exists(DagFavorite.objects.filter(dag=OuterRef("pk"), user=call.user))
    dag: Any = rows.annotate(active_runs_count=active, is_favorite=mine).first()
    if dag is None:
        raise Problem(404, f"The Dag with ID: `{dag_id}` was not found")
    dag.spec = dag.current_version.spec if dag.current_version else {}
    return DAG_DETAILS.one(dag, call)


def _check_mask(mask: list[str] | None) -> None:
    if mask and mask != ["is_paused"]:
        raise bad_request("Only `is_paused` field can be updated through the REST API")


@operation("PATCH /dags/{dag_id}", may=("edit", "dag"), query=(MASK,), body=DagPatchBody, returns=DAGS.schema)
def patch_dag(call: Call, dag_id: str) -> dict[str, Any]:
    """Pause or unpause one DAG."""
    from apps.dags import catalogue

    the_dag(call, dag_id)
    _check_mask(call.query["update_mask"])
    catalogue.set_paused([dag_id], call.body.is_paused, actor=call.actor)
    return _fresh(call, dag_id)


@operation(
    "PATCH /dags", may=("edit", "dag"), query=(MASK, *PAGE, *SELECTED_DAGS.filter_params), body=DagPatchBody, returns=DAGS.list_schema
)
def patch_dags(call: Call) -> dict[str, Any]:
    """Pause or unpause the DAGs that fit the filters. Without a pattern on the id none fits (`~` for all), as in Airflow."""
    from apps.dags import catalogue

    _check_mask(call.query["update_mask"])
    rows = _rows(call)
    if call.query["dag_id_pattern"] is None and call.query["dag_id_prefix_pattern"] is None:
        rows = rows.none()
    answer = SELECTED_DAGS.page(call, rows)
    if chosen := [d["dag_id"] for d in answer["dags"]]:
        catalogue.set_paused(chosen, call.body.is_paused, actor=call.actor)
        answer["dags"] = DAGS.show(list(_rows(call).filter(pk__in=chosen).order_by("dag_id")), call)
    return answer


@operation("POST /dags/{dag_id}/favorite", may=("read", "dag"), status=204)
def favorite_dag(call: Call, dag_id: str) -> None:
    """Mark the DAG as one of the caller's favourites."""
    the_dag(call, dag_id)
    try:
        with transaction.atomic():
            DagFavorite.objects.create(dag_id=dag_id, user=call.person)
    except IntegrityError as e:
        raise conflict_of(e) from e


@operation("POST /dags/{dag_id}/unfavorite", may=("read", "dag"), status=204)
def unfavorite_dag(call: Call, dag_id: str) -> None:
    """Take the mark back."""
    the_dag(call, dag_id)
    deleted, _ = DagFavorite.objects.filter(dag_id=dag_id, user=call.user).delete()
    if not deleted:
        raise Problem(409, "Dag is not marked as favorite")
