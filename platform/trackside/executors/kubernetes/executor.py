"""The Kubernetes executor: pods created by a pool, seen by list and watch, ended by deletion, cleared up when stored.

Stateless: pods carry their try's UUID; whoever lists them knows everything. A try ends by its runner's report, which comes
a second before the pod's own state; what is judged here is for pods that cannot report any more.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from trackside import __version__
from trackside.core.reasons import Reason
from trackside.executors.base import Executor, Fault, Known, Leases, Phase, Seen, Submission, TryRef, Verdict
from trackside.executors.kubernetes import names, reasons, reuse, settings
from trackside.executors.kubernetes.api import Api, Refusal, Unreachable
from trackside.executors.kubernetes.builder import BadPod, main_container
from trackside.executors.kubernetes.creating import Creators
from trackside.executors.kubernetes.hooks import PodHooks
from trackside.executors.kubernetes.warm import Told, WarmPods
from trackside.executors.kubernetes.watching import Watcher

RESUBMIT_AFTER = timedelta(seconds=10)
"""A queued try that was submitted this long ago and has no pod gets one again."""
REPORT_S = 3.0
"""A container that ended with 0 has reported; this long the ledger may take to know it."""
EVENTS_KEPT = 12
SECRETS_EVERY_S = 300.0

logger = logging.getLogger(__name__)


class KubernetesExecutor(Executor):
    """See the module."""

    leases: ClassVar[Leases] = Leases.TRY

    def __init__(self, alias: str, environment: Mapping[str, str]) -> None:
        super().__init__(alias, environment)
        self.config = settings.read(environment)
        self.selector = f"{names.SITE}={self.config.site},{names.EXECUTOR}={names.label(alias)}"
        self.fingerprint = hashlib.sha256(f"{__version__} {self.config}".encode()).hexdigest()[:24]
        self.hooks = PodHooks(environment, timeout=self.config.hook_s)
        self._again: dict[str, float] = {}
        """Pods to be judged again at a (monotonic) moment, by UID."""
        self._ended_at: dict[str, float] = {}
        self._deleting: set[str] = set()
        self._kept: dict[str, float] = {}
        """Pods of failed tries that stay until then."""
        self._swept = time.monotonic()

    def open(self, wake: Callable[[], None]) -> None:
        """See `Executor`."""
        self.api = Api(self.config)
        self.creators = Creators(self.api, self.config, self.alias, self.hooks)
        self._helpers = ThreadPoolExecutor(4, thread_name_prefix="pods")
        self.watcher = Watcher(self.api, self.config.namespaces, self.selector, wake)
        self.warm = WarmPods(self.config, self.watcher.pods)
        self.creators.grant, self.creators.fingerprint = self.grant, self.fingerprint
        self.creators.on_warm, self.creators.has_warm = self.warm.created, self.warm.any_of
        self.watcher.start()
        logger.info("executor %s: pods in %s of %s", self.alias, ", ".join(self.config.namespaces), self.api.host)

    def close(self) -> None:
        """See `Executor`."""
        if hasattr(self, "watcher"):
            self.watcher.stop()
            self.creators.close()
            self._helpers.shutdown(wait=False, cancel_futures=True)
            self.api.close()

    # Submitting

    def capacity(self, live: int) -> int:
        """See `Executor`."""
        return 0 if self.creators.is_paused else max(self.config.max_pods - live, 0)

    def waits_for(self) -> Reason | None:
        """See `Executor`."""
        return self.creators.waits_for()

    def rest(self) -> float:
        """See `Executor`."""
        now = time.monotonic()
        moments = [at - now for at in list(self._again.values())]
        if self.creators.is_paused:
            moments.append(self.creators.paused_for())
        return max(min([5.0, *moments]), 0.05)

    def idle_places(self) -> int | None:
        """See `Executor`."""
        return self.warm.idle() if hasattr(self, "warm") else 0

    def submit(self, refs: Sequence[TryRef]) -> list[Submission]:
        """See `Executor`. Tries that may share a pod get one only if there are not enough of their key."""
        refused: list[Submission] = []
        plans: dict[UUID, reuse.Plan] = {}
        for ref in refs if self.grant is not None else ():
            try:
                if (wish := reuse.wish_of(ref)) is not None:
                    plans[ref.id] = reuse.plan(ref, wish, self.config, self.alias)
            except BadPod as error:
                refused.append(Submission(ref.id, Verdict.REFUSED, Reason("invalid", str(error))))
        if plans:  # asked anew: the end of one try brings the next one of its DAG
            self.warm.enough(plans, self.ledger())
        wrong = {one.try_id for one in refused}
        return refused + self.creators.create([ref for ref in refs if ref.id not in wrong], plans)

    def lost(self, submitted: Sequence[tuple[TryRef, datetime]], now: datetime) -> Collection[UUID]:
        """Queued tries without a pod although all pods are known: whoever took them died before it created theirs."""
        listed = self.watcher.listed_at()
        if not listed or self.watcher.trouble():
            return []
        have = {(_try_of(pod), _round_of(pod)) for pod in self.watcher.pods()}
        known_since = now - timedelta(seconds=time.monotonic() - listed)
        shared = self.warm.lost([(ref, at) for ref, at in submitted if ref.reuse_key], now)
        missing = [
            (ref, at) for ref, at in submitted if not ref.reuse_key and (ref.id, ref.round) not in have and now - at > RESUBMIT_AFTER
        ]
        if missing and any(at > known_since for _, at in missing):
            self.watcher.relist()
            return shared  # the others the next time, with a fresh list
        return [*shared, *(ref.id for ref, _ in missing)]

    # Looking

    def look(self, known: Mapping[UUID, Known]) -> list[Seen]:
        """See `Executor`."""
        changed, gone = self.watcher.take()
        if gone:
            self.creators.room()
        now = time.monotonic()
        pods = {pod["metadata"]["uid"]: pod for pod in changed}
        due = [uid for uid, at in self._again.items() if at <= now]
        if due:
            pods |= {p["metadata"]["uid"]: p for p in self.watcher.pods() if p["metadata"]["uid"] in due}
            for uid in due:
                self._again.pop(uid, None)
        seen = [one for one in self._helpers.map(self._see, pods.values()) if one is not None]
        seen += [one for pod in gone if (one := self._see_gone(pod)) is not None]
        seen += self._warm_ones(known, [pod for pod in pods.values() if reuse.key_of(pod)], [pod for pod in gone if reuse.key_of(pod)])
        seen += self._missing(known, {one.try_id for one in seen})
        seen += self._unknown(known, pods)
        self._sweep_secrets(now)
        return seen

    def _see(self, pod: dict[str, Any]) -> Seen | None:
        try_id = _try_of(pod)
        if try_id is None:
            return None
        judged, facts, log = self._judged(pod)
        return Seen(
            try_id, _round_of(pod), judged.phase, judged.reason, judged.fault, judged.exit_code, judged.signal, facts=facts, log=log,
            vague=judged.is_vague,
        )  # fmt: skip

    def _judged(self, pod: dict[str, Any]) -> tuple[reasons.Judgement, dict[str, Any], str]:
        """What a pod's state means, where it is, and what is left to say of it."""
        uid = pod["metadata"]["uid"]
        judged = reasons.judge(pod, [], self.config, datetime.now(UTC))
        events: list[dict[str, Any]] = []
        if judged.fault is not None or (judged.phase is Phase.WAITING and judged.cause is not None):
            events = self._events(pod)
            judged = reasons.judge(pod, events, self.config, datetime.now(UTC))
        self._settle_silence(judged, uid)
        if judged.look_again is not None:
            self._again[uid] = time.monotonic() + judged.look_again
        log = self._log_of(pod, judged, events) if judged.fault is not None else ""
        return judged, self._facts(pod, events), log

    def _warm_ones(self, known: Mapping[UUID, Known], changed: Sequence[dict[str, Any]], gone: Sequence[dict[str, Any]]) -> list[Seen]:
        """Pods that several tries share."""
        told = [Told(pod, *found) for pod, found in zip(changed, self._helpers.map(self._judged, changed), strict=True)]
        seen = self.warm.look(known, told, gone)
        for pod in gone:
            uid = pod["metadata"]["uid"]
            self._again.pop(uid, None)
            self._ended_at.pop(uid, None)
            self._deleting.discard(uid)
        self.warm.forget_gone(gone)
        self._delete(self.warm.superfluous())
        return seen

    def _settle_silence(self, judged: reasons.Judgement, uid: str) -> None:
        """Exit code 0: the report is on its way, or was made. Only if the ledger still knows nothing later, it never came."""
        if judged.phase is Phase.ENDED and judged.cause is reasons.CAUSES["no_report"]:
            ended = self._ended_at.setdefault(uid, time.monotonic())
            if time.monotonic() - ended < REPORT_S:
                judged.look_again = REPORT_S
            else:
                judged.fault = Fault.USER

    def _see_gone(self, pod: dict[str, Any]) -> Seen | None:
        try_id = _try_of(pod)
        if try_id is None:
            return None
        uid = pod["metadata"]["uid"]
        self._again.pop(uid, None)
        self._ended_at.pop(uid, None)
        self._deleting.discard(uid)
        self._kept.pop(uid, None)
        judged = reasons.judge(pod, [], self.config, datetime.now(UTC))
        if judged.phase is Phase.ENDED or judged.phase is Phase.WAITING:
            # its containers ended, or never began: nothing of it runs
            if judged.fault is None:
                judged.cause, judged.detail, judged.fault = reasons.CAUSES["deleted"], "", Fault.INFRA
            return Seen(try_id, _round_of(pod), Phase.ENDED, judged.reason, judged.fault, judged.exit_code, judged.signal)
        return Seen(try_id, _round_of(pod), Phase.GONE, reasons.refusal("gone", ""), Fault.INFRA)

    def _missing(self, known: Mapping[UUID, Known], seen: set[UUID]) -> list[Seen]:
        """Tries under way of which there is no pod: only with a complete and fresh list can that be said."""
        if not known or not self.watcher.listed_at() or self.watcher.trouble():
            return []
        have = {_try_of(pod) for pod in self.watcher.pods()}
        gone = [i for i, one in known.items() if not one.reuse_key and i not in have] + self.warm.missing(known)
        return [Seen(i, 0, Phase.GONE, reasons.refusal("gone", ""), Fault.INFRA) for i in gone if i not in seen]

    def _unknown(self, known: Collection[UUID], judged: Collection[str]) -> list[Seen]:
        """Pods of tries that the ledger does not count as under way: it is asked about them, and has them removed."""
        found = []
        for pod in self.watcher.pods():
            uid, try_id = pod["metadata"]["uid"], _try_of(pod)
            if try_id is None or try_id in known or uid in judged or uid in self._deleting or self._kept.get(uid, 0.0) > time.monotonic():
                continue
            found.append(Seen(try_id, _round_of(pod), Phase.RUNNING))
        return found

    def _events(self, pod: dict[str, Any]) -> list[dict[str, Any]]:
        meta = pod["metadata"]
        try:
            found, _ = self.api.list("events", meta["namespace"], fields=f"involvedObject.uid={meta['uid']}")
        except (Unreachable, Refusal):
            return []
        return sorted(found, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))[-EVENTS_KEPT:]

    def _facts(self, pod: dict[str, Any], events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        status, spec = pod.get("status") or {}, pod.get("spec") or {}
        facts = {"uid": pod["metadata"]["uid"], "phase": status.get("phase"), "node": spec.get("nodeName"), "pod_ip": status.get("podIP")}
        facts["node_silent"] = reasons.node_is_silent(status)
        if events:
            facts["events"] = [{"at": e.get("lastTimestamp") or e.get("eventTime"), "reason": e.get("reason"), "type": e.get("type"),
                                "message": e.get("message"), "count": e.get("count")} for e in events]  # fmt: skip
        return {name: value for name, value in facts.items() if value is not None}

    def _log_of(self, pod: dict[str, Any], judged: reasons.Judgement, events: Sequence[Mapping[str, Any]]) -> str:
        """What is left to say of a pod that cannot: its events, and what its container printed outside of the task."""
        lines = [f"Pod event: {e.get('reason')}: {' '.join(str(e.get('message') or '').split())}" for e in events]
        if judged.phase is Phase.ENDED:
            meta, base = pod["metadata"], main_container(pod.get("spec") or {})
            tail = self.api.log(meta["namespace"], meta["name"], str(base.get("name")))
            lines += [f"Pod log: {line}" for line in tail.splitlines()]
        return "\n".join(lines)

    # Ending

    def cancel(self, try_ids: Collection[UUID]) -> None:
        """See `Executor`."""
        wanted = set(try_ids)
        pods = [pod for pod in self.watcher.pods() if _try_of(pod) in wanted] + self.warm.pods_of(wanted)
        self._delete([pod for pod in pods if "deletionTimestamp" not in pod["metadata"]])

    def forget(self, rounds: Collection[tuple[UUID, int]], failed: Collection[UUID] = ()) -> None:
        """See `Executor`; pods of failed tries stay for a while, for whoever wants to look at them."""
        wanted, kept = set(rounds), set(failed)
        due = []
        for pod in self.watcher.pods():
            uid = pod["metadata"]["uid"]
            if (_try_of(pod), _round_of(pod)) not in wanted or "deletionTimestamp" in pod["metadata"]:
                continue
            ended = (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")
            left = self.config.keep_failed_s - (time.monotonic() - self._ended_at.setdefault(uid, time.monotonic()))
            if _try_of(pod) in kept and ended and left > 0:
                self._kept[uid] = time.monotonic() + left
            else:
                due.append(pod)
        self._delete(due)

    def _delete(self, pods: Sequence[dict[str, Any]]) -> None:
        fresh = [pod for pod in pods if pod["metadata"]["uid"] not in self._deleting]
        self._deleting |= {pod["metadata"]["uid"] for pod in fresh}
        list(self._helpers.map(self._delete_one, fresh))

    def _delete_one(self, pod: dict[str, Any]) -> None:
        meta = pod["metadata"]
        try:
            self.api.delete("pods", meta["namespace"], meta["name"], uid=meta["uid"])
        except (Unreachable, Refusal) as error:
            logger.warning("pod %s could not be deleted, which is tried again: %s", meta["name"], error)
            self._deleting.discard(meta["uid"])
            self._again[meta["uid"]] = time.monotonic() + 2.0

    def _sweep_secrets(self, now: float) -> None:
        """Secrets whose pod was never made, because whoever made them died in between."""
        if now - self._swept < SECRETS_EVERY_S or self.watcher.trouble():
            return
        self._swept = now
        pods = {pod["metadata"]["name"] for pod in self.watcher.pods()}
        old = datetime.now(UTC) - timedelta(seconds=SECRETS_EVERY_S)
        for namespace in self.config.namespaces:
            try:
                found, _ = self.api.list("secrets", namespace, self.selector)
                for one in found:
                    meta = one["metadata"]
                    orphan = not meta.get("ownerReferences") and meta["name"] not in pods
                    if orphan and datetime.fromisoformat(meta["creationTimestamp"]) < old:
                        self.api.delete("secrets", namespace, meta["name"], uid=meta["uid"])
            except (Unreachable, Refusal) as error:
                logger.info("secrets in %s were not looked through: %s", namespace, error)


def _try_of(pod: Mapping[str, Any]) -> UUID | None:
    try:
        return UUID((pod["metadata"].get("labels") or {}).get(names.TRY, ""))
    except ValueError:
        return None


def _round_of(pod: Mapping[str, Any]) -> int:
    text = (pod["metadata"].get("labels") or {}).get(names.ROUND, "1")
    return int(text) if str(text).isdigit() else 1
