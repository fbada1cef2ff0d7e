"""The source of a DAG's versions, and what changed between two of them (`?v=3&diff=2`)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.html import escape
from django.utils.safestring import mark_safe

from apps.dags.models import DagVersion
from apps.ui.page import page
from apps.ui.queries import versions as queries
from apps.ui.views.dag import get_dag, show_tab


@page(read="source")
def code(request: HttpRequest, dag_id: str) -> HttpResponse:
    """`?v=` is the version shown (the newest), with lines that can be linked to; `?diff=` the one it is compared with."""
    dag = get_dag(dag_id)
    known = queries.of_dag(dag)
    shown = _number(request, "v") or _number(request, "version")
    newest = known[0].number if known else 0
    other = _number(request, "diff")
    found = queries.pair(dag_id, {shown or newest, *([other] if other else [])})
    version, against = found.get(shown or newest), found.get(other) if other else None
    lacking = [n for n in (shown, other) if n and n not in found]
    compared: dict[str, Any] = {}
    if version is not None and against is not None:
        lines, changed = queries.lines(against.source, version.source), queries.changes(against.spec, version.spec)
        compared = {
            "diff": lines, "too_long": lines is None, "changes": changed[: queries.CHANGES_SHOWN],
            "changes_more": max(0, len(changed) - queries.CHANGES_SHOWN),
            "added": sum(x.kind == "add" for x in lines or ()), "removed": sum(x.kind == "del" for x in lines or ()),
        }  # fmt: skip
    context = {
        "versions": known, "shown": version, "against": against, "lacking": lacking, **compared,
        "code": highlighted(version) if version is not None and against is None else [],
    }  # fmt: skip
    return show_tab(request, dag, "code", "ui/dag_code.html", context)


def _number(request: HttpRequest, name: str) -> int | None:
    """A version number of the query string; 2, or v2."""
    text = request.GET.get(name, "").strip().removeprefix("v")
    return int(text) if text.isdecimal() and len(text) < 9 else None


def highlighted(version: DagVersion) -> list[Any]:
    """The source as safe lines of markup, coloured when the highlighter is there."""
    if not version.source:
        return []
    try:
        from pygments import highlight  # type: ignore[import-untyped,unused-ignore]
        from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped,unused-ignore]
        from pygments.lexers import PythonLexer  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return [escape(line) for line in version.source.splitlines()]
    text = highlight(version.source, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True))
    return [mark_safe(line) for line in text.splitlines()]  # noqa: S308  (Pygments escapes)
