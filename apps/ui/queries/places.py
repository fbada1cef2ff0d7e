"""Where a try ran, as its executor told it: pod, node, image, resources asked and used, events, spec. For the task page."""

from __future__ import annotations

from typing import Any

import yaml
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from apps.runs.models import Try
from apps.ui import words

_NAMES = (
    ("pod", lazy("Pod")),
    ("namespace", lazy("Namespace")),
    ("node", lazy("Node")),
    ("pod_ip", lazy("Pod's address")),
    ("phase", lazy("Pod's phase")),
    ("image", lazy("Image")),
    ("service_account", lazy("Service account")),
    ("runner_said", lazy("Its runner said")),
    ("broker", lazy("Broker")),
)


def facts(chosen: Try | None) -> list[tuple[str, str]]:
    """(name, text) of its place, in the order of the page; nothing for tries of local workers."""
    told = _told(chosen)
    return [(str(name), str(told[key])) for key, name in _NAMES if told.get(key)]


def pod(chosen: Try | None) -> dict[str, Any] | None:
    """What the tab Pod shows; None for a try that was in none."""
    told = _told(chosen)
    if not told.get("pod"):
        return None
    return {
        "facts": facts(chosen),
        "resources": _resources(told),
        "events": [_event(e) for e in told.get("events") or [] if isinstance(e, dict)],
        "spec": yaml.safe_dump(told["spec"], sort_keys=False, allow_unicode=True) if told.get("spec") else "",
    }


def _event(told: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": str(told.get("at") or "").replace("T", " ")[:19], "reason": told.get("reason") or "", "count": told.get("count") or 1,
        "message": " ".join(str(told.get("message") or "").split()), "warning": told.get("type") == "Warning",
    }  # fmt: skip


def _told(chosen: Try | None) -> dict[str, Any]:
    found = chosen.facts if chosen is not None else None
    return found if isinstance(found, dict) else {}


def _resources(told: dict[str, Any]) -> list[dict[str, str]]:
    """A row per resource that was asked for, limited or measured."""
    asked = told.get("resources") or {}
    requests, limits, used = asked.get("requests") or {}, asked.get("limits") or {}, told.get("used") or {}
    measured = {}
    if isinstance(used.get("memory_bytes"), int):
        measured["memory"] = _("%(memory_bytes)s Mi at most") % {"memory_bytes": words.number(round(used["memory_bytes"] / 2**20))}
    if isinstance(used.get("cpu_seconds"), int | float):
        measured["cpu"] = _("%(cpu_seconds)s s of CPU time") % {"cpu_seconds": f"{used['cpu_seconds']:,.1f}"}
    names = sorted({*requests, *limits, *measured})
    return [{"name": n, "asked": str(requests.get(n, "")), "limit": str(limits.get(n, "")), "used": measured.get(n, "")} for n in names]
