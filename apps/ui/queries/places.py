"""Where a try ran, as its executor told it: pod, node, image, resources asked and used, events, spec. For the task page."""

from __future__ import annotations

from typing import Any

import yaml

from apps.runs.models import Try

_NAMES = (
    ("pod", "Pod"), ("namespace", "Namespace"), ("node", "Node"), ("pod_ip", "Pod's address"), ("phase", "Pod's phase"), ("image", "Image"),
    ("service_account", "Service account"), ("runner_said", "Its runner said"), ("broker", "Broker"),
)  # fmt: skip


def facts(chosen: Try | None) -> list[tuple[str, str]]:
    """(name, text) of its place, in the order of the page; nothing for tries of local workers."""
    told = _told(chosen)
    return [(name, str(told[key])) for key, name in _NAMES if told.get(key)]


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
        measured["memory"] = f"{used['memory_bytes'] / 2**20:,.0f} Mi at most"
    if isinstance(used.get("cpu_seconds"), int | float):
        measured["cpu"] = f"{used['cpu_seconds']:,.1f} s of CPU time"
    names = sorted({*requests, *limits, *measured})
    return [{"name": n, "asked": str(requests.get(n, "")), "limit": str(limits.get(n, "")), "used": measured.get(n, "")} for n in names]
