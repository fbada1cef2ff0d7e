"""One pod over another, by Airflow's rules: the later one wins; labels, environment, mounts and volumes add up; containers
are merged by their place, the first with the first. Pods are plain JSON with the API's own names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_ADD_UP = frozenset({"env", "envFrom", "volumeMounts", "volumes", "ports", "volumeDevices", "imagePullSecrets"})
"""Lists that add up; entries with the name of an earlier one replace it."""
_BY_PLACE = frozenset({"containers", "initContainers"})
_KEYS = {"volumeMounts": "mountPath", "ports": "containerPort", "volumeDevices": "devicePath"}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`; neither is changed. None in `over` says nothing."""
    found = dict(base)
    for key, value in over.items():
        before = found.get(key)
        if value is None:
            continue
        if key in _BY_PLACE and isinstance(before, list) and isinstance(value, list):
            found[key] = _by_place(before, value)
        elif key in _ADD_UP and isinstance(before, list) and isinstance(value, list):
            found[key] = _added(before, value, _KEYS.get(key, "name"))
        elif isinstance(before, Mapping) and isinstance(value, Mapping):
            found[key] = merged(before, value)
        else:
            found[key] = value
    return found


def _by_place(base: Sequence[Any], over: Sequence[Any]) -> list[Any]:
    found = [merged(b, o) for b, o in zip(base, over, strict=False)]
    return [*found, *base[len(found) :], *over[len(found) :]]


def _added(base: Sequence[Any], over: Sequence[Any], key: str) -> list[Any]:
    named = {o[key] for o in over if isinstance(o, Mapping) and key in o}
    return [*(b for b in base if not (isinstance(b, Mapping) and b.get(key) in named)), *over]
