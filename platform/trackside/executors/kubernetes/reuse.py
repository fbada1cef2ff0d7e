"""The pod that serves one try after the other: what a task may wish for it, and how it differs from a pod of a try's own.

Pure. `warm` decides how many there are, `trackside.runner.warm` is what runs in them.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from trackside.executors.base import TryRef
from trackside.executors.kubernetes import builder, names
from trackside.executors.kubernetes.builder import BadPod
from trackside.executors.kubernetes.settings import PodSettings

KEY = "trackside-reuse"
"""Label of warm pods: their key."""
_OF_A_TRY = frozenset({
    "task_id", "run_id", "try_number", "map_index", "ti_id", "logical_date", "task_instance_id", names.TRY, names.ROUND,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wish:
    """`executor_config={"reuse": …}`: True for these defaults, or a mapping with some of them."""

    idle: int = 60
    """Seconds without a try after which the pod leaves."""
    tries: int = 100
    """So many tries it serves at most."""
    age: int = 3600
    """Seconds after which it takes no more."""


_LIMITS = {"idle": (1, 86_400), "tries": (1, 100_000), "age": (10, 7 * 86_400)}


def wish_of(ref: TryRef) -> Wish | None:
    """What the task asks for; None: a pod for each try. Raises BadPod."""
    asked = ref.config.get("reuse")
    if asked is None or asked is False:
        return None
    where = f"executor_config['reuse'] of task {ref.task_id}"
    if asked is True:
        return Wish()
    if not isinstance(asked, Mapping):
        raise BadPod(f"{where} must be True or a mapping with {', '.join(_LIMITS)}, not {asked!r}.")
    for name, value in asked.items():
        if name not in _LIMITS:
            raise BadPod(f"{where} knows no {name!r}: it may have {', '.join(_LIMITS)}.")
        least, most = _LIMITS[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise BadPod(f"{where}: {name} must be a number from {least} to {most}, not {value!r}.")
    return Wish(**{name: int(value) for name, value in asked.items()})


@dataclass(slots=True)
class Plan:
    """How a try that may share its pod is brought under way."""

    key: str
    wish: Wish
    pod: dict[str, Any]
    """Without a name: see `named`."""
    create: bool = False
    """There are not enough pods of its key."""


def plan(ref: TryRef, wish: Wish, settings: PodSettings, alias: str) -> Plan:
    """The pod that `ref` may share, and the key of all who may share it. Raises BadPod."""
    pod = shared(builder.build(anonymous(ref), settings, alias), wish)
    said = json.dumps([alias, ref.dag_id, asdict(wish), pod], sort_keys=True, default=str)
    key = hashlib.sha256(said.encode()).hexdigest()[:24]
    pod["metadata"]["labels"][KEY] = key
    return Plan(key, wish, pod)


def anonymous(ref: TryRef) -> TryRef:
    """The reference without what tells one try from the others of its task."""
    return replace(ref, id=uuid.UUID(int=0), round=1, run_id="", map_index=-1, number=0, submissions=0, logical_date=None, start_token="")


def shared(pod: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """A pod of a try's own as one of many tries: without their names, and with the command that asks for them."""
    pod = copy.deepcopy(pod)
    meta, spec = pod["metadata"], pod["spec"]
    for kind in ("labels", "annotations"):
        meta[kind] = {name: value for name, value in (meta.get(kind) or {}).items() if name not in _OF_A_TRY}
    _set_name(pod, "")
    base = dict(builder.main_container(spec))
    command = list(base.get("command") or [])
    if "--try-id" in command:
        place = command.index("--try-id")
        options = [part for name in ("idle", "tries", "age") for part in (f"--{name}", str(getattr(wish, name)))]
        command[place : place + 2] = ["--reuse", *options, *(["--empty", "/tmp"] if _owns_tmp(spec, base) else [])]  # noqa: S108
        base["command"] = command
    spec["containers"] = [base if c.get("name") == base.get("name") else c for c in spec["containers"]]
    return pod


def named(pod: Mapping[str, Any], dag_id: str, name: str = "") -> dict[str, Any]:
    """The pod with this name, or with one that no other has."""
    found = copy.deepcopy(dict(pod))
    if name:
        _set_name(found, name)
        return found
    tail = f"warm-{uuid.uuid4().hex}"
    head = re.sub(r"[^a-z0-9]+", "-", dag_id.lower()).strip("-")[: names.LONGEST - len(tail) - 1].rstrip("-")
    _set_name(found, f"{head}-{tail}" if head else tail)
    return found


def secret(pod: Mapping[str, Any], token: str) -> dict[str, Any]:
    """The token of a warm pod, for it only; it goes with the pod (`builder.owned_by`)."""
    meta = pod["metadata"]
    labels = {name: meta["labels"][name] for name in (names.SITE, names.EXECUTOR, KEY)}
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": True, "stringData": {"token": token},
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "labels": labels},
    }  # fmt: skip


def key_of(pod: Mapping[str, Any]) -> str:
    """The key of a warm pod; "" for pods of one try."""
    return str((pod["metadata"].get("labels") or {}).get(KEY, ""))


def _set_name(pod: dict[str, Any], name: str) -> None:
    pod["metadata"]["name"] = name
    for volume in pod["spec"].get("volumes") or []:
        if volume.get("name") == "trackside-start":
            volume["secret"] = {**volume["secret"], "secretName": name}


def _owns_tmp(spec: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
    """Whether /tmp goes with the pod and is nobody else's: what a try left there may be removed."""
    mounts = [m for m in base.get("volumeMounts") or [] if m.get("mountPath") == "/tmp"]  # noqa: S108
    passing = {v.get("name") for v in spec.get("volumes") or [] if "emptyDir" in v}
    return all(m.get("name") in passing for m in mounts)
