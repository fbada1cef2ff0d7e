"""Assets: the list, one of them with its events and what can be done, and "is my data done?" with its badge."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from django.core import signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.access import audit
from apps.dags.models import Asset
from apps.runs import sql
from apps.runs.actions import creation, trail
from apps.runs.assets import events
from apps.runs.errors import ActionRefused, Conflict
from apps.ui import params, rights, words
from apps.ui.live import cursor
from apps.ui.page import actor_of, page, refuse, show
from apps.ui.queries import assets as queries
from apps.ui.queries import data_status
from apps.ui.views.actions import done, words_of
from apps.ui.views.dialogs import dialog
from trackside.core.states import RunType

_BADGE = signing.Signer(salt="trackside.data.badge")


@page(read="asset")
def assets(request: HttpRequest) -> HttpResponse:
    """Active assets with who makes and who reads them; `?q=`, `?group=`."""
    position, offset = cursor.take(), max(0, int(text) if (text := request.GET.get("offset", "")).isdecimal() else 0)
    search, group = request.GET.get("q", "").strip(), request.GET.get("group", "")
    rows, total, groups = queries.listing(request.user, search=search, group=group, offset=offset)
    context = {
        "rows": rows, "total": total, "groups": groups, "q": search, "group": group, "cursor": position, "offset": offset,
        "next_offset": offset + queries.PAGE if offset + queries.PAGE < total else None,
        "prev_offset": max(0, offset - queries.PAGE) or None,
    }  # fmt: skip
    return show(request, "ui/assets.html", context, nav="assets", title=_("Assets"), crumbs=[(_("Assets"), "")])


@page(read="asset")
def asset(request: HttpRequest, asset_pk: int) -> HttpResponse:
    """What makes it, what reads it, its events."""
    position = cursor.take()
    found: Any = queries.get(request.user, asset_pk)
    line = next(iter(data_status.board(request.user, pk=asset_pk)), None)
    context = {
        "asset": found, "events": queries.events(found), "line": line, "cursor": position,
        "extra": json.dumps(found.extra, indent=2, ensure_ascii=False) if found.extra else "",
        "badge": request.build_absolute_uri(reverse("data_badge", args=[_BADGE.sign(str(asset_pk))])),
        "can_add": rights.allowed(request.user, "create", "asset"),
    }  # fmt: skip
    crumbs = [(_("Assets"), reverse("assets")), (found.name, "")]
    return show(request, "ui/asset.html", context, nav="assets", title=found.name, crumbs=crumbs)


@page(read="asset", action="create")
def materialize(request: HttpRequest, asset_pk: int) -> HttpResponse:
    """Run the one DAG that makes it."""
    found: Any = queries.get(request.user, asset_pk)
    makers, home = sorted({u.dag_id for u in found.writers}), reverse("asset", args=[asset_pk])
    error = ""
    if not makers:
        error = _("No DAG that you may see makes this asset.")
    elif len(makers) > 1:
        error = _("More than one DAG makes it: %(makers)s. Trigger the one you mean.") % {"makers": ", ".join(makers)}
    elif not rights.allowed(request.user, "trigger", "run", makers[0]):
        return refuse(request, "trigger", "run", makers[0])
    elif request.method == "POST":
        try:
            run = creation.trigger(makers[0], actor=actor_of(request), run_type=RunType.ASSET_MATERIALIZATION, triggered_by="ui")
            return done(
                request, _("%(makers)s is queued.") % {"makers": makers[0]}, reverse("run", args=[makers[0], run.run_id]), state="queued"
            )
        except ActionRefused as e:
            error = words_of(e)
    maker = makers[0] if len(makers) == 1 else ""
    context = {"asset": found, "dag_id": maker, "error": error, "back": home, "subject": _("Make %(name)s") % {"name": found.name}}
    return dialog(request, "ui/_dlg_materialize.html", context, status=422 if error and request.method == "POST" else 200)


@page(read="asset", action="create")
def add_event(request: HttpRequest, asset_pk: int) -> HttpResponse:
    """Say that the asset has news, made by something that Trackside does not run."""
    found: Any = queries.get(request.user, asset_pk)
    home, error = reverse("asset", args=[asset_pk]), ""
    if request.method == "POST":
        try:
            extra = params.parse_conf(request.POST.get("extra") or "{}")
            if not request.POST.get("copy"):  # else the form again, with the call for what it says
                _tell(found, extra, actor_of(request))
                return done(request, _("%(name)s has news.") % {"name": found.name}, home)
        except ActionRefused as e:
            error = words_of(e)
    context = {
        "asset": found,
        "error": error,
        "back": home,
        "subject": _("News of %(name)s") % {"name": found.name},
        "extra": request.POST.get("extra", ""),
        "waiting": sorted({u.dag_id for u in found.readers if u.kind == "schedule"}),
    }
    return dialog(request, "ui/_dlg_asset_event.html", context, status=422 if error else 200)


def _tell(found: Asset, extra: dict[str, Any], actor: audit.Actor) -> None:
    if not found.is_active:
        raise Conflict("Nothing refers to this asset any more, so nobody would hear the news.")
    with transaction.atomic():
        events.by_hand(found, extra, None, sql.now())
        told = {"asset": found.name, "uri": found.uri, "after": {"extra": trail.conf_of(extra)}}
        audit.record("create_asset_event", actor, object_type="asset", object_id=str(found.pk), extra=told)


@page(read="asset")
def status(request: HttpRequest) -> HttpResponse:
    """Is my data done? Without a word about DAGs."""
    position, search = cursor.take(), request.GET.get("q", "").strip().lower()
    lines = data_status.board(request.user)
    counts = {"all": len(lines), "open": sum(x.status not in ("ready", "now") for x in lines)}
    view = "open" if request.GET.get("view") == "open" else "all"
    shown = [x for x in lines if search in f"{x.asset.name} {x.asset.group} {x.asset.uri}".lower()]
    shown = [x for x in shown if view == "all" or x.status not in ("ready", "now")]
    context = {
        "groups": [(name, list(some)) for name, some in groupby(shown, key=lambda x: x.asset.group)],
        "verdict": _verdict(lines), "cursor": position, "q": request.GET.get("q", ""), "view": view, "counts": counts,
    }  # fmt: skip
    return show(request, "ui/data_status.html", context, nav="data", title=_("Data status"), crumbs=[(_("Data status"), "")])


def _verdict(lines: list[data_status.DataLine]) -> str:
    if not lines:
        return _("Nothing delivers data yet.")
    number = {s: sum(x.status == s for x in lines) for s in data_status.ORDER}
    said = [(number["late"], _("late")), (number["risk"], _("at risk")), (number["decision"], _("waiting for a decision"))]
    bad = [f"{n} {'is' if n == 1 else 'are'} {what}" for n, what in said if n]
    many = words.plural(len(lines), "data set")
    return _("Of %(many)s %(bad)s.") % {"many": many, "bad": ", ".join(bad)} if bad else _("Nothing is late of %(many)s.") % {"many": many}


def badge(request: HttpRequest, signed: str) -> HttpResponse:
    """A small picture of one status for other sites. The signed address is the permission: it tells name and status, no more."""
    try:
        pk = int(_BADGE.unsign(signed))
    except (signing.BadSignature, ValueError):
        return HttpResponse(
            _("This is not the address of a badge. The page of the asset shows it.\n"), status=404, content_type="text/plain"
        )
    line = next(iter(data_status.board(None, pk=pk)), None)
    context = {"line": line, "name": line.asset.name if line else "Data"}
    response = render(request, "ui/data_badge.svg", context, content_type="image/svg+xml")
    response["Cache-Control"] = "max-age=30"
    return response
