"""How many warm pods there are of each key, and what their states mean for the tries in them and those that wait.

Level-triggered: wanted are as many pods of a key as there are tries of it under way, from what the ledger says (`Known`) and what the
cluster says (the watch). In memory is only what was just created and is not seen yet. For `executor`, which judges
single pods (`reasons`) and deletes them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from trackside.executors.base import Fault, Known, Phase, Seen, TryRef
from trackside.executors.kubernetes import builder, reasons, reuse
from trackside.executors.kubernetes.reuse import Plan
from trackside.executors.kubernetes.settings import PodSettings

UNSEEN_S = 30.0
"""A pod that was created this long ago is in the watch, or it is gone."""
UNSEEN_BY_OTHERS = timedelta(seconds=2)
"""What another executor process creates is in the watch after this long."""
YOUNG_S = 5.0
"""A pod that waits is not taken away before: the try it was made for may be younger than what the ledger said."""
HANGS_S = 60.0
"""A pod that should have left by itself, or should have taken a try that waits, is made to leave after this long."""

Pod = Mapping[str, Any]
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Told:
    """A changed pod as the executor judges it."""

    pod: dict[str, Any]
    judged: reasons.Judgement
    facts: dict[str, Any] = field(default_factory=dict)
    log: str = ""


class WarmPods:
    """See the module. Called from the executor's thread, `created` from its creators too."""

    def __init__(self, settings: PodSettings, pods: Callable[[], list[dict[str, Any]]]) -> None:
        self._settings = settings
        self._all = pods
        self._lock = threading.Lock()
        self._created: dict[str, tuple[str, float]] = {}
        """Name → (key, moment), until the watch shows it."""
        self._known: Mapping[UUID, Known] = {}
        self._idle_since: dict[str, float] = {}
        self._ended_at: dict[str, float] = {}
        self._noted: set[tuple[UUID, str]] = set()
        self._why: dict[str, reasons.Judgement] = {}
        """Name of a pod that waits → why."""
        self._said: dict[UUID, str] = {}

    # Submitting

    def enough(self, plans: Mapping[UUID, Plan], known: Mapping[UUID, Known]) -> None:
        """Say which of these tries, which are about to be submitted, need another pod."""
        self._known = known
        have, live = self._have(), self._live(exclude=plans)
        for plan in plans.values():
            live[plan.key] += 1
            if have[plan.key] < live[plan.key]:
                logger.info("another warm pod of key %s: %d tries under way, %d pods", plan.key, live[plan.key], have[plan.key])
                plan.create = True
                have[plan.key] += 1

    def created(self, key: str, name: str) -> None:
        """A pod was made; it counts from now on."""
        with self._lock:
            self._created[name] = (key, time.monotonic())

    def idle(self) -> int:
        """How many pods have no try, and are not on their way to one."""
        return max((self._have() - self._live()).total(), 0)

    def any_of(self, key: str) -> bool:
        """Whether there is a pod of this key, busy or not."""
        return self._have()[key] > 0

    def lost(self, submitted: Sequence[tuple[TryRef, datetime]], now: datetime) -> list[UUID]:
        """Which of these queued tries no pod will come for: handed to one that is gone, or more of them than there are pods."""
        alive = {pod["metadata"]["name"] for pod in self._warm() if is_alive(pod)}
        gone = [ref.id for ref, _ in submitted if ref.place and ref.place not in alive]
        have, taken = self._have(), Counter(k.reuse_key for k in self._known.values() if k.place in alive)
        short = []
        for ref, at in submitted:
            if not ref.place:
                taken[ref.reuse_key] += 1
                if taken[ref.reuse_key] > have[ref.reuse_key] and now - at > UNSEEN_BY_OTHERS:
                    short.append(ref.id)
        return [*gone, *short]

    # Looking

    def look(self, known: Mapping[UUID, Known], told: Sequence[Told], gone: Sequence[dict[str, Any]]) -> list[Seen]:
        """What the changed pods and the vanished ones mean for tries."""
        self._known = known
        pods = {pod["metadata"]["name"]: pod for pod in self._warm()}
        here = self._places()
        waiting = self._waiting()
        seen = []
        for one in sorted(told, key=lambda t: str(t.pod["metadata"]["name"])):
            self._note_wait(one)
            seen += self._of_its_tries(one, here[one.pod["metadata"]["name"]]) or self._charged(one, waiting[reuse.key_of(one.pod)])
        seen += [self._vanished(pod, try_id) for pod in gone for try_id in here[pod["metadata"]["name"]] if self._ran(try_id)]
        ended = {one.try_id for one in seen}
        seen += self._newly_placed(pods, ended)
        seen += self._why_they_wait(pods, {key: [i for i in ids if i not in ended] for key, ids in waiting.items()})
        return seen

    def missing(self, known: Mapping[UUID, Known]) -> list[UUID]:
        """Tries that ran in a pod which does not exist; for a complete and fresh list of pods."""
        names = {pod["metadata"]["name"] for pod in self._warm()}
        return [i for i, k in known.items() if k.reuse_key and k.place and k.state != "queued" and k.place not in names]

    def pods_of(self, try_ids: Collection[UUID]) -> list[dict[str, Any]]:
        """The pods that these tries were handed to."""
        places = {self._known[i].place for i in try_ids if i in self._known} - {""}
        return [pod for pod in self._warm() if pod["metadata"]["name"] in places]

    def superfluous(self) -> list[dict[str, Any]]:
        """Pods to be deleted: what has ended, what waits although nobody needs it, what should have left by itself."""
        now = time.monotonic()
        here, live, waiting = self._places(), self._live(), self._waiting()
        pods = [pod for pod in self._warm() if "deletionTimestamp" not in pod["metadata"]]
        surplus = Counter(reuse.key_of(pod) for pod in pods if is_alive(pod))
        surplus.subtract(live)
        due = []
        for pod in pods:
            key, name, uid = reuse.key_of(pod), pod["metadata"]["name"], pod["metadata"]["uid"]
            if not is_alive(pod):
                if not here[name] and self._may_go(pod, now):
                    due.append(pod)
            elif phase(pod) == "Pending":
                if surplus[key] > 0 and _age_s(pod) > YOUNG_S:
                    surplus[key] -= 1
                    due.append(pod)
            elif here[name]:
                self._idle_since.pop(uid, None)
            elif self._hangs(pod, now - self._idle_since.setdefault(uid, now), waiting[key]):
                due.append(pod)
        return due

    def _hangs(self, pod: Pod, idle_s: float, waiting: Sequence[UUID]) -> bool:
        since = self._known[waiting[0]].since if waiting else None
        waited = (datetime.now(UTC) - since).total_seconds() if since is not None else 0.0
        return idle_s > _idle_s(pod) + HANGS_S or min(idle_s, waited) > HANGS_S

    def forget_gone(self, pods: Sequence[dict[str, Any]]) -> None:
        """Nothing of these pods need be remembered."""
        for pod in pods:
            self._idle_since.pop(pod["metadata"]["uid"], None)
            self._ended_at.pop(pod["metadata"]["uid"], None)
            self._why.pop(pod["metadata"]["name"], None)

    # What there is

    def _warm(self) -> list[dict[str, Any]]:
        return [pod for pod in self._all() if reuse.key_of(pod)]

    def _have(self) -> Counter[str]:
        """Pods by key that serve tries, or will."""
        now = time.monotonic()
        warm = self._warm()
        names = {pod["metadata"]["name"] for pod in warm}
        with self._lock:
            self._created = {n: (k, at) for n, (k, at) in self._created.items() if n not in names and now - at < UNSEEN_S}
            unseen = Counter(key for key, _ in self._created.values())
        return Counter(reuse.key_of(pod) for pod in warm if is_alive(pod)) + unseen

    def _live(self, exclude: Collection[UUID] = ()) -> Counter[str]:
        return Counter(k.reuse_key for i, k in self._known.items() if k.reuse_key and k.state in ("queued", "running") and i not in exclude)

    def _places(self) -> dict[str, list[UUID]]:
        here: dict[str, list[UUID]] = defaultdict(list)
        for try_id, known in self._known.items():
            if known.place:
                here[known.place].append(try_id)
        return here

    def _waiting(self) -> dict[str, list[UUID]]:
        """By key the queued tries that have no place, oldest first."""
        found = sorted(
            (known.since or datetime.max.replace(tzinfo=UTC), try_id, known.reuse_key)
            for try_id, known in self._known.items() if known.state == "queued" and known.reuse_key and not known.place
        )  # fmt: skip
        waiting: dict[str, list[UUID]] = defaultdict(list)
        for _, try_id, key in found:
            waiting[key].append(try_id)
        return waiting

    def _ran(self, try_id: UUID) -> bool:
        return self._known[try_id].state != "queued"

    # What that means

    def _of_its_tries(self, one: Told, here: Sequence[UUID]) -> list[Seen]:
        """What was only handed over is submitted again by `lost`, unless the pod failed by itself: that would have no end."""
        judged = one.judged
        if judged.fault is not None and judged.exit_code == 0:  # it left without knowing of this try
            judged.cause, judged.detail, judged.fault = reasons.CAUSES["gone"], "", Fault.INFRA
        by_itself = judged.fault is Fault.USER and judged.exit_code != 0
        return [
            Seen(try_id, 0, judged.phase, judged.reason, judged.fault, judged.exit_code, judged.signal, facts=one.facts, log=one.log,
                 vague=judged.is_vague)
            for try_id in here if self._ran(try_id) or by_itself
        ]  # fmt: skip

    def _charged(self, one: Told, waiting: list[UUID]) -> list[Seen]:
        """A pod that fails by what it was asked for: the oldest try that waits for one gets the reason."""
        judged = one.judged
        never = judged.phase is Phase.WAITING and "deletionTimestamp" not in one.pod["metadata"]
        if judged.fault is None or not waiting or not (never or judged.fault is Fault.USER) or (judged.exit_code == 0 and not never):
            return []
        try_id = waiting.pop(0)
        self._ended_at[one.pod["metadata"]["uid"]] = 0.0  # it is not kept: seen again, it would be charged again
        facts = {**one.facts, "pod": one.pod["metadata"]["name"]}
        return [Seen(try_id, 0, Phase.WAITING, judged.reason, judged.fault, judged.exit_code, judged.signal, facts=facts, log=one.log)]

    def _vanished(self, pod: dict[str, Any], try_id: UUID) -> Seen:
        judged = reasons.judge(pod, [], self._settings, datetime.now(UTC))
        if judged.phase is Phase.ENDED:
            if judged.fault is None:
                judged.cause, judged.detail, judged.fault = reasons.CAUSES["deleted"], "", Fault.INFRA
            return Seen(try_id, 0, Phase.ENDED, judged.reason, judged.fault, judged.exit_code, judged.signal)
        return Seen(try_id, 0, Phase.GONE, reasons.refusal("gone", ""), Fault.INFRA)

    def _newly_placed(self, pods: Mapping[str, dict[str, Any]], ended: Collection[UUID]) -> list[Seen]:
        """The facts of its pod for a try that has just got one."""
        now = {(i, k.place) for i, k in self._known.items() if k.place and self._ran(i)}
        fresh = [(i, place) for i, place in now - self._noted if place in pods and i not in ended]
        self._noted = (self._noted & now) | set(fresh)
        return [Seen(i, 0, Phase.RUNNING, facts=builder.facts(pods[place]) | facts_of(pods[place])) for i, place in fresh]

    def _note_wait(self, one: Told) -> None:
        name = one.pod["metadata"]["name"]
        if one.judged.phase is Phase.WAITING and one.judged.fault is None:
            self._why[name] = one.judged
        else:
            self._why.pop(name, None)

    def _why_they_wait(self, pods: Mapping[str, dict[str, Any]], waiting: Mapping[str, Sequence[UUID]]) -> list[Seen]:
        """What holds up a pod of their key, for the tries that wait for one; told once."""
        why = {reuse.key_of(pods[name]): judged for name, judged in self._why.items() if name in pods}
        seen = []
        for key, ids in waiting.items():
            judged = why.get(key)
            reason = judged.reason if judged is not None else None
            for try_id in ids:
                if reason is not None and self._said.get(try_id) != reason.text:
                    self._said[try_id] = reason.text
                    seen.append(Seen(try_id, 0, Phase.WAITING, reason))
        self._said = {i: text for i, text in self._said.items() if i in self._known}
        return seen

    def _may_go(self, pod: dict[str, Any], now: float) -> bool:
        """What left by itself goes at once; what failed stays for a while, for whoever wants to look at it."""
        since = self._ended_at.setdefault(pod["metadata"]["uid"], now)
        return phase(pod) == "Succeeded" or now - since > self._settings.keep_failed_s


def is_alive(pod: Pod) -> bool:
    """Whether it serves tries, or will when it has started."""
    return "deletionTimestamp" not in pod["metadata"] and phase(pod) in ("Pending", "Running") and not _main_has_ended(pod)


def phase(pod: Pod) -> str:
    """The pod's phase; Pending before the cluster says one."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def facts_of(pod: Pod) -> dict[str, Any]:
    """Where it is, for the page of a try."""
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    facts = {"uid": pod["metadata"]["uid"], "phase": status.get("phase"), "node": spec.get("nodeName"), "pod_ip": status.get("podIP")}
    return {name: value for name, value in facts.items() if value is not None}


def _main_has_ended(pod: Pod) -> bool:
    name = builder.main_container(pod.get("spec") or {}).get("name")
    return any(
        c.get("name") == name and (c.get("state") or {}).get("terminated") for c in (pod.get("status") or {}).get("containerStatuses") or []
    )


def _idle_s(pod: Pod) -> float:
    command = list(builder.main_container(pod.get("spec") or {}).get("command") or [])
    try:
        return float(command[command.index("--idle") + 1])
    except (ValueError, IndexError):
        return float(reuse.Wish().idle)


def _age_s(pod: Pod) -> float:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])).total_seconds()
    except (KeyError, ValueError):
        return 0.0
