"""Backfills of a DAG: the list, the dialog that counts before it creates, pause and cancel. Domain: `runs.backfills.actions`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.views.decorators.http import require_POST

from apps.runs.backfills import actions
from apps.runs.backfills.models import REPROCESS
from apps.runs.errors import ActionRefused, Invalid, NotFound
from apps.runs.models import Backfill
from apps.ui import params, words
from apps.ui.live import cursor
from apps.ui.page import actor_of, page, wants_fragment, zone_label
from apps.ui.queries import backfills as queries
from apps.ui.views.actions import done, words_of
from apps.ui.views.dag import get_dag, show_tab
from apps.ui.views.dialogs import dialog

AGAIN = {
    "none": lazy("Only runs that are missing"),
    "failed": lazy("Missing and failed runs"),
    "completed": lazy("All of them, also those that succeeded"),
}
LISTED = 200


@page()
def backfills(request: HttpRequest, dag_id: str) -> HttpResponse:
    """What was backfilled, how far it is, and who asked for it."""
    position = cursor.take()
    return show_tab(request, get_dag(dag_id), "backfills", "ui/dag_backfills.html", {"rows": queries.of_dag(dag_id), "cursor": position})


@page(read="backfill", action="create")
def create(request: HttpRequest, dag_id: str) -> HttpResponse:
    """GET shows the form with the runs it would make; POST with `go` makes them, if they are still as many."""
    dag = get_dag(dag_id)
    data = request.POST if request.method == "POST" else request.GET
    yesterday = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    chosen = {
        "from": data.get("from") or (yesterday - timedelta(days=6)).strftime("%Y-%m-%dT%H:%M"),
        "to": data.get("to") or yesterday.strftime("%Y-%m-%dT%H:%M"),
        "reprocess": data.get("reprocess") if data.get("reprocess") in REPROCESS else "none",
        "backwards": data.get("backwards") == "on", "max_active": data.get("max_active") or "10", "conf": data.get("conf", ""),
    }  # fmt: skip
    error, bad, slots = "", "", []
    try:
        wanted = _request(dag_id, chosen)
        slots = actions.preview(wanted)
        if request.method == "POST" and data.get("go"):
            if data.get("seen") != str(len(slots)):
                error = _("Things moved while you looked: these are the new numbers.")
            elif not slots:
                error = _("Nothing to run: every slot between these dates has its run.")
            else:
                actions.create(wanted, actor=actor_of(request))
                return done(
                    request,
                    _("%(runs)s of %(dag_id)s queued.") % {"runs": words.plural(len(slots), "run"), "dag_id": dag_id},
                    _home(dag_id),
                    state="queued",
                )
    except ActionRefused as e:
        error, bad, slots = words_of(e), e.field or "", []
    context: dict[str, Any] = {
        "dag": dag, "chosen": chosen, "error": error, "bad_field": bad, "again": AGAIN.items(), "back": _home(dag_id),
        "subject": _("Backfill %(dag_id)s") % {"dag_id": dag_id}, "zone": zone_label(), "total": len(slots), "slots": slots[:LISTED],
        "more": max(0, len(slots) - LISTED), "existing": sum(s.existing is not None for s in slots),
    }  # fmt: skip
    if wants_fragment(request) and request.headers.get("HX-Target") == "clear-preview":
        return render(request, "ui/_backfill_preview.html", context)
    return dialog(request, "ui/_dlg_backfill.html", context, status=422 if error and request.method == "POST" else 200)


def _home(dag_id: str) -> str:
    return reverse("dag_backfills", args=[dag_id])


def _request(dag_id: str, chosen: dict[str, Any]) -> actions.Request:
    text = chosen["max_active"].strip()
    if not text.isdecimal() or int(text) < 1:
        raise Invalid(f"{text} is not a number of runs: enter 1 or more.", field="max_active_runs")
    return actions.Request(
        dag_id, _moment(chosen["from"], "from_date"), _moment(chosen["to"], "to_date"), run_backwards=chosen["backwards"],
        reprocess_behavior=chosen["reprocess"], max_active_runs=min(int(text), 10_000),
        dag_run_conf=params.parse_conf(chosen["conf"]) if chosen["conf"].strip() else None,
    )  # fmt: skip


def _moment(text: str, name: str) -> datetime:
    """A moment of the form, in the zone of the page."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{text} is not a date and time.", field=name) from None
    return given if given.tzinfo else timezone.make_aware(given)


@require_POST
@page(read="backfill", action="edit")
def change(request: HttpRequest, dag_id: str, backfill_id: int) -> HttpResponse:
    """`do`: pause, unpause or cancel."""
    row, act = Backfill.objects.filter(pk=backfill_id, dag_id=dag_id).first(), request.POST.get("do")
    if row is None:
        raise NotFound(f"{dag_id} has no backfill {backfill_id}.")
    try:
        if act == "cancel":
            actions.cancel(row.pk, actor=actor_of(request))
            return done(request, _("The backfill is cancelled: runs that have not begun end; those that run go on."), _home(dag_id))
        actions.set_paused(row.pk, act == "pause", actor=actor_of(request))
        said = _("No further run of the backfill begins.") if act == "pause" else _("The backfill goes on.")
        return done(request, said, _home(dag_id), state="paused" if act == "pause" else "success")
    except ActionRefused as e:
        return done(request, words_of(e), _home(dag_id), bad=True)
