"""Links that plugins put beside the pages: Airflow's `external_views` and `appbuilder_menu_items`.

For the navigation (`ui/_outside.html`). What Airflow shows in a frame or a menu is a link here, on the pages of its destination: `nav` on
all, `dag`, `dag_run`, `task` and `task_instance` on theirs, with {DAG_ID}, {RUN_ID}, {TASK_ID} and {MAP_INDEX} filled in. The child process
that loads plugins told what there is (`apps.runs.errands.plugin_report`); nothing of a plugin runs here.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from apps.runs.errands import plugin_report

GOOD_FOR = 4.0
"""Seconds for which a process keeps the report; a site without plugins is not asked at all."""
_kept: tuple[float, list[dict[str, Any]]] = (-1e9, [])


class Link(NamedTuple):
    """One, ready to be shown."""

    name: str
    href: str


def links(place: dict[str, Any], map_index: str) -> list[Link]:
    """What belongs on a page. `place`: of its URL, any of dag_id, run_id, task_id."""
    here = "task_instance" if "task_id" in place else "dag_run" if "run_id" in place else "dag" if "dag_id" in place else "nav"
    wanted = {"nav", "base", here} | ({"task"} if here == "task_instance" else set())
    names = {"DAG_ID": place.get("dag_id"), "RUN_ID": place.get("run_id"), "TASK_ID": place.get("task_id"), "MAP_INDEX": map_index or "-1"}
    found = []
    for view in _views():
        href = str(view.get("href") or "")
        if view.get("destination", "nav") in wanted and view.get("name") and _leads_somewhere(href):
            for name, value in names.items():
                href = href.replace("{" + name + "}", quote(str(value or ""), safe=""))
            found.append(Link(str(view["name"]), href))
    return found


def _leads_somewhere(href: str) -> bool:
    """Pages only: no script, no data."""
    parts = urlsplit(href)
    return parts.scheme in ("http", "https") or (not parts.scheme and not parts.netloc and href.startswith("/"))


def _views() -> list[dict[str, Any]]:
    global _kept
    if plugin_report.is_empty():
        return []
    at, views = _kept
    if time.monotonic() - at > GOOD_FOR:
        plugins = plugin_report.read().get("plugins", ())
        rows = [row for p in plugins for name in ("external_views", "appbuilder_menu_items") for row in p.get(name) or ()]
        views = [row for row in rows if isinstance(row, dict)]
        _kept = (time.monotonic(), views)
    return views


def forget() -> None:
    """Read the report anew when next asked."""
    global _kept
    _kept = (-1e9, [])
