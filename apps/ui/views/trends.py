"""The tab Trends of a DAG: is it getting slower, how often does it fail, where does the time go."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from apps.ui import words
from apps.ui.page import page
from apps.ui.queries import trends as queries
from apps.ui.views.dag import get_dag, show_tab

NOTICEABLE = 10
"""Per cent by which newer runs must differ to be called slower or faster."""


@page()
def trends(request: HttpRequest, dag_id: str) -> HttpResponse:
    """Bars of the last runs, then the tasks that take most of the time."""
    dag = get_dag(dag_id)
    found = queries.runs(dag_id)
    told = queries.numbers(found)
    context = {
        "chart": queries.chart(found), "numbers": told, "tasks": queries.tasks(dag_id) if found else [], "verdict": _verdict(told),
        "limit": queries.RUNS,
    }  # fmt: skip
    return show_tab(request, dag, "trends", "ui/dag_trends.html", context)


def _verdict(told: dict[str, Any]) -> str:
    if not told["ended"]:
        return "No run has ended yet."
    said = f"{told['ended'] - told['failed']} of the last {words.plural(told['ended'], 'run')} succeeded"
    said += f", usually in {words.duration(told['usual'])}." if told["usual"] is not None else "."
    change = told["change"]
    if change is not None:
        said += (
            f" The last {queries.RECENT} took {abs(change)} % {'longer' if change > 0 else 'less'} than those before."
            if abs(change) >= NOTICEABLE
            else f" The last {queries.RECENT} took about as long as those before."
        )
    return said
