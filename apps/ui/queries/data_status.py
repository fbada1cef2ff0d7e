"""Is my data done? One line per asset that something makes, for people who do not know what a DAG is.

An asset is judged by the newest run of what makes it, by when the next update is due and how long updates usually take.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from apps.access import policy
from apps.dags.models import Asset, AssetUse, Dag
from apps.runs.assets.models import AssetEvent
from apps.runs.models import TaskInstance
from apps.ui import words
from apps.ui.queries import dags as dag_queries

DAYS, SHARE_DAYS = 14, 90
SLOW = 1.5
"""Times the usual duration after which an update that still goes is at risk."""
GRACE = timedelta(minutes=1)
ORDER = ("late", "decision", "risk", "stopped", "now", "never", "ready")
LABELS = {
    "late": ("failed", lazy("Late")), "decision": ("awaiting_input", lazy("Needs a decision")), "risk": ("up_for_retry", lazy("At risk")),
    "stopped": ("paused", lazy("Switched off")), "now": ("running", lazy("Updating now")), "never": ("none", lazy("No data yet")),
    "ready": ("success", lazy("Ready")),
}  # fmt: skip
"""Status → glyph and words."""


@dataclass(slots=True)
class DataLine:
    """One asset."""

    asset: Asset
    status: str
    text: str = ""
    updated: datetime | None = None
    due: datetime | None = None
    days: list[str] = field(default_factory=list)
    """State of each of the last days, oldest first; empty string: nothing was due."""
    on_time: int | None = None
    """Per cent of updates that went well."""

    @property
    def glyph(self) -> str:
        return str(LABELS[self.status][0])

    @property
    def label(self) -> str:
        return str(LABELS[self.status][1])


def board(user: Any, *, pk: int | None = None, now: datetime | None = None) -> list[DataLine]:
    """Every asset that a DAG makes (or one of them), worst first within its group. Six statements."""
    now = now or timezone.now()
    visible = policy.visible_dags(user, "dag") if user is not None else Q()
    uses = AssetUse.objects.filter(visible, kind=AssetUse.OUTLET, asset__is_active=True, dag__is_stale=False)
    if pk is not None:
        uses = uses.filter(asset=pk)
    makers: dict[int, set[str]] = {}
    for asset_pk, dag_id in uses.values_list("asset_id", "dag_id"):
        makers.setdefault(asset_pk, set()).add(dag_id)
    assets = Asset.objects.in_bulk(list(makers))
    dags = Dag.objects.in_bulk({d for ids in makers.values() for d in ids})
    newest = AssetEvent.objects.filter(asset__in=assets).order_by("asset_id", "-timestamp", "-id").distinct("asset_id")
    updated = dict(newest.values_list("asset_id", "timestamp"))
    runs = dag_queries.last_runs(list(dags), dag_queries.BARS)
    asking = _asking([rs[-1]["id"] for rs in runs.values() if rs[-1]["state"] == "running"])
    history = _history(list(dags))
    lines = []
    for asset_pk, dag_ids in makers.items():
        judged = [_judge(dags[d], runs.get(d, []), asking, updated.get(asset_pk), now) for d in dag_ids]
        status, text, due = min(judged, key=lambda j: ORDER.index(j[0]))
        line = DataLine(assets[asset_pk], status, text, updated.get(asset_pk), due)
        line.days, line.on_time = _strip([history.get(d, {}) for d in dag_ids], now)
        lines.append(line)
    return sorted(lines, key=lambda x: (x.asset.group, ORDER.index(x.status), x.asset.name))


def _judge(
    dag: Dag, runs: list[dict[str, Any]], asking: set[int], updated: datetime | None, now: datetime
) -> tuple[str, str, datetime | None]:
    usual = words.usual([r["seconds"] for r in runs if r["state"] == "success" and r["seconds"]]) or 0.0
    last = runs[-1] if runs else None
    due = dag.next_run_after + timedelta(seconds=usual) if dag.next_run_after else None
    if last is not None and last["state"] in ("running", "queued"):
        return _going(last, usual, last["id"] in asking, now)
    if last is not None and last["state"] == "failed":
        when = words.relative(last["end"] or last["run_after"], now)
        later = (
            _(" The next attempt is due %(now)s.") % {"now": words.relative(due, now)} if due and not dag.is_paused and due > now else ""
        )
        return "late", _("The last update failed %(when)s.%(later)s") % {"when": when, "later": later}, due
    if dag.is_paused:
        return "stopped", _("Updates are switched off; somebody has to switch them on."), None
    if due is not None and dag.next_run_after and now - dag.next_run_after > GRACE:
        return "late", _("The update due %(now)s has not begun.") % {"now": words.relative(dag.next_run_after, now)}, due
    if updated is None:
        return "never", _("Nothing has been delivered so far."), due
    return "ready", "", due


def _going(run: dict[str, Any], usual: float, asks: bool, now: datetime) -> tuple[str, str, datetime | None]:
    begun = run["start"] or run["run_after"]
    due = begun + timedelta(seconds=usual) if usual else None
    if asks:
        return "decision", _("The update waits for a person's decision."), due
    if run["state"] == "queued":
        return ("risk" if now - run["run_after"] > GRACE else "now"), _("The update waits for its turn."), due
    took = (now - begun).total_seconds()
    if usual and took > SLOW * usual and took - usual > GRACE.total_seconds():
        return (
            "risk",
            _("The update takes longer than usual: %(took)s so far, usually %(usual)s.")
            % {"took": words.duration(took), "usual": words.duration(usual)},
            due,
        )
    left = f" About {words.rough(usual - took)} left." if usual and usual > took else ""
    return "now", _("An update began %(now)s.%(left)s") % {"now": words.relative(begun, now), "left": left}, due


def _asking(run_pks: list[int]) -> set[int]:
    return set(TaskInstance.objects.filter(run__in=run_pks, state="awaiting_input").values_list("run_id", flat=True))


def _history(dag_ids: list[str]) -> dict[str, dict[date, tuple[int, int]]]:
    """Per DAG and day of the reader: (updates that ended, of them failed)."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT dag_id, (run_after AT TIME ZONE %s)::date, count(*), count(*) FILTER (WHERE state = 'failed') FROM runs_run
            WHERE dag_id = ANY(%s) AND run_after >= now() - make_interval(days => %s) AND state IN ('success', 'failed') GROUP BY 1, 2
            """,
            [timezone.get_current_timezone_name(), dag_ids, SHARE_DAYS],
        )
        found: dict[str, dict[date, tuple[int, int]]] = {}
        for dag_id, day, ended, failed in cursor.fetchall():
            found.setdefault(dag_id, {})[day] = (ended, failed)
    return found


def _strip(histories: Iterable[dict[date, tuple[int, int]]], now: datetime) -> tuple[list[str], int | None]:
    total: dict[date, tuple[int, int]] = {}
    for history in histories:
        for day, (ended, failed) in history.items():
            before = total.get(day, (0, 0))
            total[day] = (before[0] + ended, before[1] + failed)
    today = timezone.localdate(now)
    days = []
    for back in range(DAYS - 1, -1, -1):
        ended, failed = total.get(today - timedelta(days=back), (0, 0))
        days.append("" if not ended else "success" if not failed else "failed" if failed == ended else "up_for_retry")
    ended, failed = (sum(pair[k] for pair in total.values()) for k in (0, 1))
    return days, round(100 * (ended - failed) / ended) if ended else None
