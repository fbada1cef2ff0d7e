"""Bringing pods to the API server: a few at a time, the secret first, and what a refusal means.

Waits are no failures: a full quota, a busy or absent API server, missing rights. They pause the namespace with growing
back-off, so that many waiting tries do not storm the server; one of them tries again when the pause is over.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from trackside.core.reasons import Reason
from trackside.executors.base import Fault, Grant, Submission, TryRef, Verdict, config_digest
from trackside.executors.kubernetes import builder, reasons, reuse
from trackside.executors.kubernetes.api import Api, Refusal, Unreachable
from trackside.executors.kubernetes.hooks import HookFailed, PodHooks
from trackside.executors.kubernetes.reuse import Plan
from trackside.executors.kubernetes.settings import PodSettings

FIRST_PAUSE_S = 0.5
MOST_PAUSE_S = 20.0
TOKEN_LEEWAY_S = 900
"""Seconds a warm pod may take to start, beside its age."""
ROOM_PAUSE_S = 1.0
"""A pause for a full quota lasts no longer than this once a pod is gone: few attempts a second, but none that waits for nothing."""

logger = logging.getLogger(__name__)


class Paused(Exception):
    """The API server wants to be left alone."""


class Creators:
    """A bounded pool of threads that create pods."""

    def __init__(self, api: Api, settings: PodSettings, alias: str, hooks: PodHooks | None = None) -> None:
        self._api = api
        self._hooks = hooks
        self._settings = settings
        self._alias = alias
        self._pool = ThreadPoolExecutor(settings.creators, thread_name_prefix="create-pod")
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._pause = FIRST_PAUSE_S
        self._why: Reason | None = None
        self.grant: Callable[[Grant], str] | None = None
        self.fingerprint = ""
        """Both: see `Executor`."""
        self.on_warm: Callable[[str, str], None] = lambda _key, _name: None
        """Called with key and name of every warm pod that was made."""
        self.has_warm: Callable[[str], bool] = lambda _key: False
        """Whether there is a warm pod of this key."""

    def close(self) -> None:
        """Let what is under way finish."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._hooks is not None:
            self._hooks.close()

    @property
    def is_paused(self) -> bool:
        """Whether the API server wants to be left alone."""
        return time.monotonic() < self._paused_until

    def waits_for(self) -> Reason | None:
        """Why nothing is created now."""
        return self._why if self.is_paused else None

    def paused_for(self) -> float:
        """Seconds until the next attempt."""
        return max(self._paused_until - time.monotonic(), 0.0)

    def room(self) -> None:
        """A pod is gone: what waits for room in a quota may try soon, however long the pause has grown."""
        with self._lock:
            if self._why is not None and self._why.code == "quota":
                self._paused_until = min(self._paused_until, time.monotonic() + ROOM_PAUSE_S)
                self._pause = FIRST_PAUSE_S

    def create(self, refs: Sequence[TryRef], plans: Mapping[UUID, Plan] | None = None) -> list[Submission]:
        """One pod each, but for those that may share one (`plans`) and need no other; returns when all have an answer."""
        shared = plans or {}
        return list(self._pool.map(lambda ref: self._shared(ref, shared[ref.id]) if ref.id in shared else self._one(ref), refs))

    def _shared(self, ref: TryRef, plan: Plan) -> Submission:
        """A try that any pod of its key may take."""
        facts = {name: value for name, value in builder.facts(plan.pod).items() if name != "pod"}
        if not plan.create:
            return Submission(ref.id, Verdict.TAKEN, facts=facts, reuse_key=plan.key)
        made: dict[str, Any] = {}

        def create() -> None:
            made.update(self._warm_pod(ref, plan))

        answer = self._tried(ref, create, facts)
        if answer.verdict is Verdict.TAKEN:
            answer.reuse_key = plan.key
            if made:
                self.on_warm(plan.key, made["metadata"]["name"])
        elif answer.verdict is Verdict.LATER and self.has_warm(plan.key):  # another one will be free before there is room
            return Submission(ref.id, Verdict.TAKEN, answer.reason, facts=facts, reuse_key=plan.key)
        return answer

    def _warm_pod(self, ref: TryRef, plan: Plan) -> dict[str, Any]:
        pod = reuse.named(plan.pod, ref.dag_id)
        if self._hooks is not None:
            changed = self._hooks.apply(pod)
            if changed is not pod:
                name = pod["metadata"]["name"]
                pod = builder.after_hook(changed, pod, reuse.anonymous(ref), self._settings, self._alias)
                pod = reuse.named(reuse.shared(pod, plan.wish), ref.dag_id, name)
                pod["metadata"]["labels"][reuse.KEY] = plan.key
        assert self.grant is not None
        may = Grant(
            pod["metadata"]["name"], plan.key, self._alias, ref.dag_id, config_digest(ref.config), self.fingerprint,
            plan.wish.age + TOKEN_LEEWAY_S,
        )  # fmt: skip
        self._bring(pod, reuse.secret(pod, self.grant(may)))
        return pod

    def _one(self, ref: TryRef) -> Submission:
        facts: dict[str, Any] = {}

        def create() -> None:
            pod = builder.build(ref, self._settings, self._alias)
            if self.is_paused:  # before the hook, which may take long
                raise Paused
            pod = self._hooked(ref, pod)
            facts.update(builder.facts(pod))
            self._bring(pod, builder.secret(ref, pod))

        return self._tried(ref, create, facts)

    def _tried(self, ref: TryRef, create: Callable[[], None], facts: dict[str, Any]) -> Submission:
        """The answer to an attempt, whatever became of it."""
        try:
            if self.is_paused:  # somebody else of this batch was told to wait
                raise Paused
            create()
        except Paused:
            return Submission(ref.id, Verdict.LATER, self._why)
        except (builder.BadPod, HookFailed) as error:
            return Submission(ref.id, Verdict.REFUSED, Reason("invalid", str(error)))
        except Unreachable as error:
            return self._later(ref, reasons.refusal("away", str(error)), None)
        except Refusal as error:
            return self._refused(ref, error, facts)
        except Exception as error:  # the task's wishes can be anything
            logger.exception("creating the pod of try %s failed", ref.id)
            return Submission(ref.id, Verdict.REFUSED, reasons.refusal("invalid", f"{type(error).__name__}: {error}"), facts=facts)
        with self._lock:
            self._pause, self._why = FIRST_PAUSE_S, None
        return Submission(ref.id, Verdict.TAKEN, facts=facts)

    def _hooked(self, ref: TryRef, pod: dict[str, Any]) -> dict[str, Any]:
        """The pod as the site's `pod_mutation_hook` wants it. Raises HookFailed, BadPod."""
        if self._hooks is None:
            return pod
        changed = self._hooks.apply(pod)
        return pod if changed is pod else builder.after_hook(changed, pod, ref, self._settings, self._alias)

    def _bring(self, pod: dict[str, Any], secret: dict[str, Any]) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        _once(self._api, "secrets", namespace, secret)
        made = _once(self._api, "pods", namespace, pod)
        if made is None:
            made = self._api.get("pods", namespace, name)
        try:
            self._api.patch("secrets", namespace, name, builder.owned_by(made))
        except Refusal as error:
            if error.status != 404:
                logger.warning("the secret of pod %s is not tied to it: %s", name, error)

    def _refused(self, ref: TryRef, error: Refusal, facts: dict[str, Any]) -> Submission:
        said = error.message
        if error.status == 409 and "object has been modified" in said:  # the quota's own race: at once again
            return Submission(ref.id, Verdict.LATER, None)
        if error.status == 429 or error.status >= 500:
            return self._later(ref, reasons.refusal("busy", said), error.retry_after)
        if error.status == 403 and "exceeded quota" in said and not _never_fits(said):
            return self._later(ref, reasons.refusal("quota", said.partition("exceeded quota:")[2] or said), error.retry_after)
        if error.status in (401, 404) or (error.status == 403 and (" cannot " in said or "service account" in said.lower())):
            return self._later(ref, reasons.refusal("forbidden", said), error.retry_after)
        return Submission(ref.id, Verdict.REFUSED, reasons.refusal("invalid", said), Fault.USER, facts)

    def _later(self, ref: TryRef, why: Reason, retry_after: float | None) -> Submission:
        with self._lock:
            if not self.is_paused:
                pause = max(retry_after or 0.0, self._pause)
                self._paused_until = time.monotonic() + pause * random.uniform(0.7, 1.0)  # noqa: S311 - jitter
                self._pause = min(self._pause * 2, MOST_PAUSE_S)
                self._why = why
        return Submission(ref.id, Verdict.LATER, why)


def _once(api: Api, kind: str, namespace: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """Create; None if it is there already."""
    try:
        return api.create(kind, namespace, body)
    except Refusal as error:
        if error.status == 409 and error.reason == "AlreadyExists":
            return None
        raise


def _never_fits(said: str) -> bool:
    """Whether one pod asks for more than the whole quota: waiting would not help."""
    asked = dict(re.findall(r"([\w./-]+)=([\w.]+)", (re.search(r"requested: (.*?)(?:, used:|$)", said) or [""])[0]))
    limited = dict(re.findall(r"([\w./-]+)=([\w.]+)", (re.search(r"limited: (.*)$", said) or [""])[0]))
    return any(name in limited and _quantity(value) > _quantity(limited[name]) for name, value in asked.items())


_UNITS = {"m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def _quantity(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)([a-zA-Z]*)", text)
    return float(match[1]) * _UNITS.get(match[2], 1.0) if match else 0.0
