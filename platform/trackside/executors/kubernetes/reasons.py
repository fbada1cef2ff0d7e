"""What a pod's state means for its try: finds the cause (`causes`) in a pod's status.

`judge` is pure: a pod as the API server shows it, its events, and the time, make a `Judgement`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from trackside.core.messages import NOT_STARTED
from trackside.core.reasons import Reason
from trackside.executors.base import Fault, Phase
from trackside.executors.kubernetes.builder import main_container
from trackside.executors.kubernetes.causes import CAUSES, Cause
from trackside.executors.kubernetes.settings import PodSettings

_WAITING = {
    "ErrImagePull": "image_pull", "ImagePullBackOff": "image_pull", "RegistryUnavailable": "image_pull",
    "SignatureValidationFailed": "image_pull",
    "InvalidImageName": "image_name", "ErrImageNeverPull": "image_name", "ImageInspectError": "image_name",
    "CreateContainerConfigError": "container_config",
    "CreateContainerError": "container_create", "RunContainerError": "container_create", "StartError": "container_create",
    "ContainerCannotRun": "container_create",
}  # fmt: skip
_EVENTS = {
    "FailedMount": "pod_volume", "FailedAttachVolume": "pod_volume", "FailedMapVolume": "pod_volume",
    "FailedCreatePodSandBox": "pod_sandbox", "NetworkNotReady": "pod_sandbox",
}  # fmt: skip
_NODE_NOT_READY = re.compile(
    r"services have not yet been read|failed to sync \w+ cache|failed to start shim|failed to create shim task: (?!OCI)|"
    r"code = (Unavailable|DeadlineExceeded|Canceled|Aborted)|transport is closing|ttrpc: (server )?closed|"
    r"context (canceled|deadline exceeded)|is reserved for"
)
"""What the kubelet says of a container whose node is not ready for it, as when it has just been started, or was stopped while it
started the container. Where it has not given up, it tries again. What is wrong with the container itself, the OCI runtime says."""
_DISRUPTIONS = {
    "PreemptionByScheduler": "preempted", "EvictionByEvictionAPI": "drained", "DeletionByTaintManager": "node_lost",
    "DeletionByPodGC": "node_lost",
}  # fmt: skip
_POD_REASONS = {
    "Evicted": "evicted", "Preempting": "preempted", "DeadlineExceeded": "deadline", "NodeLost": "node_lost",
    "Terminated": "disrupted", "Shutdown": "disrupted", "NodeShutdown": "disrupted", "NodeAffinity": "node_refused",
    "UnexpectedAdmissionError": "node_refused", "OutOfcpu": "node_refused", "OutOfmemory": "node_refused", "OutOfpods": "node_refused",
    "OutOfephemeral-storage": "node_refused",
}  # fmt: skip
SLOW = timedelta(seconds=3)
"""A pod that starts faster than this needs no sentence."""
STUCK = timedelta(seconds=60)
"""A pod that is being deleted this long past its grace sits on a node that does not answer."""


@dataclass(slots=True)
class Judgement:
    """What a pod's state means."""

    phase: Phase
    cause: Cause | None = None
    detail: str = ""
    fault: Fault | None = None
    exit_code: int | None = None
    signal: int | None = None
    limit: str = ""
    container: str = ""
    node: str = ""
    look_again: float | None = None
    """Seconds after which time alone changes the judgement."""

    @property
    def is_vague(self) -> bool:
        """Whether the pod says only that it ended."""
        return self.cause is not None and self.cause.code in ("exit_code", "no_report")

    @property
    def reason(self) -> Reason | None:
        """Code and sentence, with what to do."""
        return reason_of(self.cause, self) if self.cause else None


def reason_of(cause: Cause, of: Judgement) -> Reason:
    """The sentence of a cause."""
    words = {"detail": of.detail, "limit": of.limit, "code": of.exit_code, "container": of.container, "node": of.node or "(none)"}
    return Reason(cause.code, f"{_filled(cause.says, words)} {_filled(cause.advice, words)}")


def refusal(code: str, detail: str) -> Reason:
    """The sentence for a pod that could not be created."""
    return reason_of(CAUSES[code], Judgement(Phase.WAITING, detail=detail.strip().rstrip(".")))


def _filled(text: str, words: Mapping[str, Any]) -> str:
    return re.sub(r"\{(\w+)\}", lambda m: str(words.get(m.group(1), "")), text)


def judge(pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]], settings: PodSettings, now: datetime) -> Judgement:
    """The judgement about one pod."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    base = main_container(spec)
    found = Judgement(Phase.WAITING, node=str(spec.get("nodeName") or ""), container=str(base.get("name") or ""))
    main = _status_of(status.get("containerStatuses"), found.container)
    state = (main or {}).get("state") or {}
    deleting = "deletionTimestamp" in pod["metadata"]
    if ended := state.get("terminated"):
        return _ended(found, ended, base, status, deleting=deleting)
    if status.get("phase") in ("Failed", "Succeeded"):
        return _failed_pod(found, status, deleting=deleting)
    if "running" in state:
        found.phase = Phase.RUNNING
        return _stuck(found, pod, now) if deleting else found
    if init := _failed_init(status):
        found.phase = Phase.WAITING
        return _is(found, "init_failed", _more(init), exit_code=init.get("exitCode"), container=str(init.get("name")))
    if deleting:
        why = _disruption(status)
        return _is(found, why[0], why[1]) if why else _is(found, "deleted", " before it began")
    return _waiting(found, pod, state.get("waiting") or {}, events, settings, now)


def _waiting(
    found: Judgement,
    pod: Mapping[str, Any],
    waiting: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    settings: PodSettings,
    now: datetime,
) -> Judgement:
    status = pod.get("status") or {}
    began = _moment(pod["metadata"].get("creationTimestamp")) or now
    age = now - began
    init = next((c for c in status.get("initContainerStatuses") or [] if (c.get("state") or {}).get("waiting")), None)
    trouble = waiting if waiting.get("reason") in _WAITING else ((init or {}).get("state") or {}).get("waiting") or waiting
    code = _WAITING.get(str(trouble.get("reason")), "")
    detail = _short(str(trouble.get("message") or trouble.get("reason") or ""))
    if "pull QPS exceeded" in detail:
        code = ""
    if code in ("container_config", "container_create") and _NODE_NOT_READY.search(detail):
        code = "pod_sandbox"
    if code == "image_pull" and waiting.get("reason") == "ImagePullBackOff":
        detail = next(
            (_short(e["message"]) for e in reversed(events) if e.get("reason") == "Failed" and "pull" in str(e.get("message"))), detail
        )
    if not code:
        code, detail, age = _before_containers(status, events, now, age)
    if not code:
        found.look_again = max((SLOW - age).total_seconds(), 0.0) + 0.1 if age < SLOW else None
        if age < SLOW:
            return found
        code, detail = "pod_starting", "is being set up" + (f" on node {found.node}" if found.node else "")
    cause = CAUSES[code]
    _is(found, code, detail)
    if cause.patience:
        left = getattr(settings, cause.patience) - age.total_seconds()
        if left <= 0:
            found.fault = cause.after
        else:
            found.look_again = left + 0.1
    return found


def _before_containers(
    status: Mapping[str, Any], events: Sequence[Mapping[str, Any]], now: datetime, age: timedelta
) -> tuple[str, str, timedelta]:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            since = _moment(condition.get("lastTransitionTime"))
            why = _short(str(condition.get("message") or condition.get("reason") or ""))
            return "pod_unschedulable", why, now - since if since else age
    for event in reversed(events):
        if code := _EVENTS.get(str(event.get("reason"))):
            return code, _short(str(event.get("message") or "")), age
    return "", "", age


def _ended(found: Judgement, ended: Mapping[str, Any], base: Mapping[str, Any], status: Mapping[str, Any], *, deleting: bool) -> Judgement:
    found.phase = Phase.ENDED
    code = int(ended.get("exitCode") or 0)
    reason = str(ended.get("reason") or "")
    found.exit_code = code
    if reason == "OOMKilled":
        limit = (((base.get("resources") or {}).get("limits")) or {}).get("memory")
        found.exit_code, found.signal, found.limit = None, 9, f" of {limit}" if limit else ""
        return _is(found, "oom")
    if _WAITING.get(reason) in ("container_config", "container_create") and _NODE_NOT_READY.search(str(ended.get("message"))):
        return _is(found, "node_refused", _short(str(ended["message"])))
    if reason in _WAITING:
        return _is(found, _WAITING[reason], _short(str(ended.get("message") or reason)))
    if reason == "ContainerStatusUnknown":
        return _is(found, "node_lost")
    if str(status.get("reason")) in _POD_REASONS:
        return _is(found, _POD_REASONS[str(status["reason"])], _short(str(status.get("message") or "")))
    if why := _disruption(status):
        return _is(found, *why)
    if deleting and code != 0:
        return _is(found, "deleted", " while it ran")
    if code == 0:
        found.cause = CAUSES["no_report"]  # no fault yet: its report says how the task ended; see `executor`
        return found
    if code > 128:
        found.exit_code, found.signal = None, code - 128
        return _is(found, "signal", _signal_words(code - 128))
    if (said := str(ended.get("message") or "")).startswith(NOT_STARTED):  # as when the kubelet has lost sight of a first container
        return _is(found, "not_started", _short(said.removeprefix(NOT_STARTED)))
    return _is(found, "exit_code", _more(ended))


def _failed_pod(found: Judgement, status: Mapping[str, Any], *, deleting: bool) -> Judgement:
    found.phase = Phase.ENDED
    detail = _short(str(status.get("message") or ""))
    if code := _POD_REASONS.get(str(status.get("reason"))):
        return _is(found, code, detail)
    if why := _disruption(status):
        return _is(found, *why)
    if init := _failed_init(status):
        return _is(found, "init_failed", _more(init), exit_code=init.get("exitCode"), container=str(init.get("name")))
    if deleting:
        return _is(found, "deleted")
    return _is(found, "disrupted", detail or str(status.get("reason") or "it says no more"))


def _stuck(found: Judgement, pod: Mapping[str, Any], now: datetime) -> Judgement:
    """Being deleted: the kubelet ends it and says so. If it does not, its node is gone."""
    until = _moment(pod["metadata"].get("deletionTimestamp"))
    if until is not None and now - until > STUCK:
        _is(found, "node_lost")
    else:
        found.look_again = 5.0
    return found


def _is(found: Judgement, code: str, detail: str = "", **more: Any) -> Judgement:
    found.cause, found.detail, found.fault = CAUSES[code], detail, CAUSES[code].fault
    for name, value in more.items():
        setattr(found, name, value)
    return found


def node_is_silent(status: Mapping[str, Any]) -> bool:
    """Whether the cluster has lost the node of a running pod: it says so on the pod, whose containers are as they last were.

    Nothing is ended for it: the pod may run on and be heard by the server. If it is not, the page can name the node.
    """
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or []}
    return status.get("phase") == "Running" and (conditions.get("Ready"), conditions.get("ContainersReady")) == ("False", "True")


def _disruption(status: Mapping[str, Any]) -> tuple[str, str] | None:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            code = _DISRUPTIONS.get(str(condition.get("reason")), "disrupted")
            said = _short(str(condition.get("message") or condition.get("reason") or ""))
            return code, said if code == "disrupted" else f" ({said})"
    return None


def _failed_init(status: Mapping[str, Any]) -> dict[str, Any] | None:
    for one in status.get("initContainerStatuses") or []:
        ended = (one.get("state") or {}).get("terminated")
        if ended and int(ended.get("exitCode") or 0) != 0:
            return {**ended, "name": one.get("name")}
    return None


def _status_of(statuses: Sequence[Mapping[str, Any]] | None, name: str) -> Mapping[str, Any] | None:
    return next((s for s in statuses or [] if s.get("name") == name), None)


def _more(ended: Mapping[str, Any]) -> str:
    said = _short(str(ended.get("message") or ""))
    return f" ({said})" if said else ""


def _signal_words(number: int) -> str:
    import signal

    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _short(text: str) -> str:
    """One line of at most 400 characters, without the point at its end."""
    line = " ".join(text.split())
    return (line if len(line) <= 400 else line[:399] + "…").rstrip(". ")


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None
    except ValueError:
        return None
