"""The processes of Trackside with their leases and load. Two statements for any number of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.runs.models import Process, Try
from apps.ui import words
from apps.ui.queries.home import KINDS
from trackside.executors import registry

PAST = timedelta(days=1)
LISTED = 500


@dataclass(slots=True)
class Line:
    """One process."""

    process: Process
    state: str
    """Glyph: success, failed (silent), removed (ended)."""
    word: str
    used: int | None = None
    total: int = 0
    load: str = ""
    other_version: bool = False


@dataclass(slots=True)
class Kind:
    """All processes of one kind that should be there."""

    key: str
    name: str
    what: str
    lines: list[Line] = field(default_factory=list)

    @property
    def living(self) -> int:
        return sum(x.state == "success" for x in self.lines)


def board() -> dict[str, Any]:
    """Kinds with their processes, those that ended within a day apart."""
    now = timezone.now()
    rows = Process.objects.filter(Q(ended_at=None) | Q(ended_at__gt=now - PAST)).order_by("kind", "hostname", "started_at")[:LISTED]
    busy = dict(Try.objects.filter(state="running", worker__isnull=False).values_list("worker").annotate(n=Count("id")))
    kinds = {key: Kind(key, str(name), str(what)) for key, name, what in KINDS}
    if remote := [e.alias for e in settings.EXECUTORS if e.kind != registry.LOCAL]:
        kinds["executor"] = Kind("executor", _("Executors"), _("bring tasks to %(remote)s") % {"remote": ", ".join(remote)})
    ended: list[Line] = []
    for process in rows:
        line = _line(process, busy.get(process.pk, 0), process.lease_until > now)
        if process.ended_at is not None:
            ended.append(line)
        else:
            kinds.setdefault(process.kind, Kind(process.kind, process.kind.replace("_", " ").capitalize(), "")).lines.append(line)
    ended.sort(key=lambda x: x.process.ended_at or now, reverse=True)
    return {"kinds": list(kinds.values()), "ended": ended, "verdict": _verdict(list(kinds.values()))}


def _line(process: Process, busy: int, holds: bool) -> Line:
    if process.ended_at is not None:
        line = Line(process, "removed", _("Ended"))
    elif holds:
        line = Line(process, "success", _("Answers"))
    else:
        line = Line(process, "failed", _("Silent"))
    line.other_version = bool(process.version) and process.version != settings.VERSION
    info = process.info if isinstance(process.info, dict) else {}
    if process.kind == "worker":
        line.used, line.total = busy, process.slots
        line.load = _("%(some)s of %(all)s") % {"some": words.number(busy), "all": words.plural(process.slots, "slot")}
    elif process.kind == "triggerer":
        line.used, line.total = sum(v for v in info.values() if isinstance(v, int)), process.slots
        of = _("%(some)s of %(all)s") % {"some": words.number(line.used), "all": words.plural(process.slots, "trigger")}
        line.load = of if process.slots else words.plural(line.used, "trigger")
    else:
        line.load = _load(process.kind, info)
    return line


def _load(kind: str, info: dict[str, Any]) -> str:
    """What a process does, in words; its CPU time and memory last."""
    parts = []
    if kind == "scheduler" and (ticks := info.get("ticks")):
        parts.append(
            _("%(passes)s, %(each)s ms each")
            % {"passes": words.plural(ticks, "pass", "passes"), "each": f"{1000 * info.get('tick_seconds', 0.0) / ticks:.1f}"}
        )
    elif kind == "executor" and info.get("serves"):
        parts.append(f"serves {info['serves']}")
    else:
        told = {k: v for k, v in info.items() if k not in ("cpu_seconds", "rss_bytes")}
        parts += [f"{k.replace('_', ' ')} {v}" for k, v in sorted(told.items()) if isinstance(v, int | float | str)]
    if "rss_bytes" in info:
        parts.append(f"{info['rss_bytes'] / 2**20:,.0f} MiB")
    return ", ".join(parts)


def _verdict(kinds: list[Kind]) -> str:
    """The answer first: does everything that is needed answer?"""
    needed = {"scheduler", "dag_processor", *("executor" if e.kind != registry.LOCAL else "worker" for e in settings.EXECUTORS)}
    lacking = [k for k in kinds if not k.living and k.key in needed]
    silent = sum(x.state == "failed" for k in kinds for x in k.lines)
    if lacking:
        without = _(" and ").join(f"{_('no')} {k.key.replace('_', ' ').replace('dag', 'DAG')}" for k in lacking)
        return _("There is %(without)s. Start %(them)s: %(lacking)s.") % {
            "without": without,
            "them": _("one") if len(lacking) == 1 else _("them"),
            "lacking": ", ".join(f"manage.py {k.key}" for k in lacking),
        }
    if silent:
        return _("%(processes)s silent; what they held is taken over when their lease ends.") % {
            "processes": words.plural(silent, "process is", "processes are")
        }
    return _("Everything answers: %(processes)s.") % {"processes": words.plural(sum(k.living for k in kinds), "process", "processes")}
