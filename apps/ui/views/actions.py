"""Actions without a dialog: pause, read a file again. Each is one domain call."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from apps.access.audit import Actor
from apps.dags import catalogue
from apps.dags.models import DagFile
from apps.runs.actions import undo as undoing
from apps.runs.errors import ActionRefused
from apps.runs.models import Undo
from apps.ui import rights, sentences
from apps.ui.page import actor_of, page, refuse, tell, wants_fragment


def done(
    request: HttpRequest, text: str, target: str, *, state: str = "success", bad: bool = False, undo: UUID | None = None
) -> HttpResponse:
    """The answer to an action: for the shell a sentence (a toast) and where to go, else a redirect with that sentence.

    `undo`: what takes it back; offered beside the sentence.
    """
    back = reverse("undo", args=[undo]) if undo else ""
    if wants_fragment(request):
        answer = {"toast": text, "state": "failed" if bad else state, "href": target, "undo": back}
        return JsonResponse(answer, status=422 if bad else 200)
    tell(request, text, bad=bad, undo=back)
    return HttpResponseRedirect(target)


def back_to(request: HttpRequest, fallback: str) -> str:
    """The page the action was started from, if it is ours."""
    referer = request.headers.get("referer", "")
    return referer if url_has_allowed_host_and_scheme(referer, {request.get_host()}) else fallback


def words_of(error: ActionRefused) -> str:
    """A refusal as one sentence, in the reader's language."""
    detail = error.detail
    return sentences.told(str(detail.get("message") or detail.get("reason") or detail) if isinstance(detail, dict) else str(detail))


@require_POST
@page(action="edit")
def pause(request: HttpRequest, dag_id: str) -> HttpResponse:
    """Switch a DAG on or off (`paused` is 1 or 0)."""
    paused = request.POST.get("paused") == "1"
    target = back_to(request, reverse("dag", args=[dag_id]))
    try:
        kept = set_paused([dag_id], paused, actor_of(request))
    except ActionRefused as e:
        return done(request, words_of(e), target, bad=True)
    text = (
        _("%(dag_id)s is paused; running tasks finish.") % {"dag_id": dag_id}
        if paused
        else _("%(dag_id)s runs on schedule again.") % {"dag_id": dag_id}
    )
    return done(request, text, target, state="paused" if paused else "success", undo=kept)


def set_paused(dag_ids: list[str], paused: bool, actor: Actor) -> UUID | None:
    """Switch DAGs; the id of what undoes it."""
    with transaction.atomic():
        return undoing.remember_pause(catalogue.set_paused(dag_ids, paused, actor=actor), paused, actor=actor)


@require_POST
@page()
def undo(request: HttpRequest, undo_pk: UUID) -> HttpResponse:
    """Take an action back."""
    row = Undo.objects.filter(pk=undo_pk).only("dag_id", "dag_ids", "paused", "runs").first()
    dags = [] if row is None else row.dag_ids or sorted({r["dag_id"] for r in row.runs or []} or {row.dag_id})
    kind = "dag" if row is not None and row.paused is not None else "run"
    target = back_to(request, reverse("home"))
    for dag_id in dags:
        if not rights.allowed(request.user, "edit", kind, dag_id):
            return refuse(request, "edit", kind, dag_id)
    try:
        return done(request, undoing.undo(undo_pk, actor=actor_of(request)), target)
    except ActionRefused as e:
        return done(request, words_of(e), target, bad=True)


@require_POST
@page(action="edit")
def reparse(request: HttpRequest, file_pk: int) -> HttpResponse:
    """Ask the DAG processor to read one file now."""
    file = get_object_or_404(DagFile, pk=file_pk)
    catalogue.request_parse(file, actor=actor_of(request))
    return done(request, _("%(relative_path)s is being read again.") % {"relative_path": file.relative_path}, reverse("import_errors"))
