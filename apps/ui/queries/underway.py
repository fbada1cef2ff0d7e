"""What is under way with executors that bring tries elsewhere: which pod runs what and where, why others wait, how much room is
left, what the cluster said last. For the page of processes; three statements for any number of pods."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, IntegerField, Q, Value, When
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from apps.access import policy
from apps.runs.models import Process, Try
from apps.ui import words
from trackside.executors import registry

LISTED = 200


@dataclass(slots=True)
class Place:
    """One executor."""

    alias: str
    kind: str
    running: int = 0
    queued: int = 0
    unsent: int = 0
    limit: int | None = None
    warm: int = 0
    """Warm pods without a task."""
    nodes: list[tuple[str, int]] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """One line: running, waiting, room, nodes."""
        parts = [
            _("%(n)s running") % {"n": words.number(self.running)},
            _("%(n)s waiting") % {"n": words.number(self.queued)},
        ]
        if self.unsent:
            parts.append(_("%(unsent)s of them not brought there yet") % {"unsent": words.number(self.unsent)})
        if self.limit is not None:
            used = words.number(self.running + self.queued - self.unsent)
            parts.append(_("%(used)s of %(pods)s used") % {"used": used, "pods": words.plural(self.limit, "pod")})
        if self.warm:
            parts.append(_("%(pods)s warm without a task") % {"pods": words.plural(self.warm, "pod")})
        if self.nodes:
            parts.append(_("on %(nodes)s") % {"nodes": ", ".join(f"{node} ({n})" for node, n in self.nodes)})
        return ", ".join(parts) + "."


def places(user: Any) -> list[Place]:
    """The executors of this site that are not local, with their tries; rows only of DAGs that this person may read."""
    made = {e.alias: Place(e.alias, e.kind, limit=_limit(e.kind)) for e in settings.EXECUTORS if e.kind != registry.LOCAL}
    if not made:
        return []
    live = Try.objects.filter(executor__in=list(made)).filter(Q(state__in=("queued", "running")) | Q(kill_confirmed=False))
    unsent = Count("id", filter=Q(submitted_at=None))
    for alias, state, n, waiting in live.order_by().values_list("executor", "state").annotate(n=Count("id"), waiting=unsent):
        place = made[alias]
        if state == "queued":
            place.queued += n
            place.unsent += waiting
        else:
            place.running += n
    waits_first = Case(When(state="queued", then=Value(0)), default=Value(1), output_field=IntegerField())
    shown = live.filter(policy.visible_dags(user, "ti__run__dag")).select_related("ti", "ti__run").defer("ti__run__conf", "snapshot")
    nodes: dict[str, Counter[str]] = {alias: Counter() for alias in made}
    for row in shown.order_by(waits_first, "queued_at")[:LISTED]:
        made[row.executor].rows.append(_row(row))
        if row.state == "running" and (node := (row.facts or {}).get("node")):
            nodes[row.executor][node] += 1
    for info in Process.objects.filter(kind="executor", ended_at=None, lease_until__gt=Now()).values_list("info", flat=True):
        for alias, idle in (info.get("idle_places") or {}).items() if isinstance(info, dict) else ():
            if alias in made:
                made[alias].warm = max(made[alias].warm, int(idle))  # every executor process sees all of them
    for alias, found in nodes.items():
        made[alias].nodes = found.most_common(5)
    return list(made.values())


def _limit(kind: str) -> int | None:
    text = os.environ.get("TRACKSIDE_KUBERNETES_MAX_PODS", "100")
    return int(text) if kind == "kubernetes" and text.isdigit() else None


def _row(row: Try) -> dict[str, Any]:
    facts = row.facts if isinstance(row.facts, dict) else {}
    events = [e for e in facts.get("events") or [] if isinstance(e, dict)]
    ending = row.state not in ("queued", "running")
    why = row.ti.reason or ("" if row.submitted_at else _("It has not been brought to its executor yet."))
    return {
        "try": row, "ti": row.ti, "run": row.ti.run, "pod": facts.get("pod") or row.hostname, "node": facts.get("node") or "",
        "state": "restarting" if ending else row.state, "word": _("Being ended") if ending else "",
        "why": why if row.state == "queued" else "",
        "event": f"{events[-1].get('reason')}: {' '.join(str(events[-1].get('message') or '').split())}" if events else "",
        "since": row.start_date if row.state == "running" else row.queued_at,
    }  # fmt: skip
