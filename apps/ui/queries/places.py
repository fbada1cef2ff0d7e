"""Where a try ran, as its executor told it: pod, node, image, resources, events. For the details of the task page."""

from __future__ import annotations

import json
from typing import Any

from apps.runs.models import Try

_NAMES = (
    ("pod", "Pod"), ("namespace", "Namespace"), ("node", "Node"), ("pod_ip", "Pod's address"), ("phase", "Pod's phase"), ("image", "Image"),
    ("service_account", "Service account"), ("broker", "Broker"),
)  # fmt: skip


def facts(chosen: Try | None) -> list[tuple[str, str]]:
    """(name, text), in the order of the page; nothing for tries of local workers."""
    told: dict[str, Any] = (chosen.facts if chosen is not None else None) or {}
    found = [(name, str(told[key])) for key, name in _NAMES if told.get(key)]
    for kind, name in (("requests", "Asks for"), ("limits", "Limited to")):
        if asked := (told.get("resources") or {}).get(kind):
            found.append((name, ", ".join(f"{value} {resource}" for resource, value in sorted(asked.items()))))
    found += [
        (f"Event {str(event.get('at') or '')[11:19]}", f"{event.get('reason')}: {' '.join(str(event.get('message') or '').split())}")
        for event in told.get("events") or []
    ]
    if told.get("spec"):
        found.append(("Pod spec", json.dumps(told["spec"], sort_keys=True)))
    return found
