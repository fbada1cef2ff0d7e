"""The breadcrumb's parts, for pages of a DAG, a run and a task: text, address, and where others of its kind are chosen."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _

from apps.runs.models import Run
from apps.ui import words


class Crumb(NamedTuple):
    """One step; the last one is this page."""

    text: str
    href: str = ""
    others: str = ""
    """What can be switched: the address of the choices as JSON (`views.switch`)."""
    listed: str = ""
    """The page that lists them, for browsers without scripts."""


def of_dag(dag_id: str, tab: str = "") -> Crumb:
    """A DAG; others open on the same tab."""
    return Crumb(dag_id, reverse("dag", args=[dag_id]), f"{reverse('switch_dag')}?{urlencode({'tab': tab})}", reverse("dags"))


def of_run(run: Run, **same: Any) -> Crumb:
    """A run; others open with `same`: task, map_index, tab (of run or task), as far as they are given."""
    here = urlencode({name: value for name, value in same.items() if value not in ("", None)})
    text = _("Run %(run_after)s") % {"run_after": words.moment(run.run_after)}
    choices = f"{reverse('switch_run', args=[run.dag_id])}?{here}"
    return Crumb(text, reverse("run", args=[run.dag_id, run.run_id]), choices, reverse("dag_runs", args=[run.dag_id]))
