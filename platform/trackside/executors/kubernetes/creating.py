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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from trackside.core.reasons import Reason
from trackside.executors.base import Fault, Submission, TryRef, Verdict
from trackside.executors.kubernetes import builder, reasons
from trackside.executors.kubernetes.api import Api, Refusal, Unreachable
from trackside.executors.kubernetes.hooks import HookFailed, PodHooks
from trackside.executors.kubernetes.settings import PodSettings

FIRST_PAUSE_S = 0.5
MOST_PAUSE_S = 20.0
ROOM_PAUSE_S = 1.0
"""A pause for a full quota lasts no longer than this once a pod is gone: few attempts a second, but none that waits for nothing."""

logger = logging.getLogger(__name__)


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

    def create(self, refs: Sequence[TryRef]) -> list[Submission]:
        """One pod each; returns when all have an answer."""
        return list(self._pool.map(self._one, refs))

    def _one(self, ref: TryRef) -> Submission:
        try:
            pod = builder.build(ref, self._settings, self._alias)
            if self.is_paused:  # somebody else of this batch was told to wait
                return Submission(ref.id, Verdict.LATER, self._why)
            pod = self._hooked(ref, pod)
        except (builder.BadPod, HookFailed) as error:
            return Submission(ref.id, Verdict.REFUSED, Reason("invalid", str(error)))
        facts = builder.facts(pod)
        try:
            self._create(ref, pod)
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

    def _create(self, ref: TryRef, pod: dict[str, Any]) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        _once(self._api, "secrets", namespace, builder.secret(ref, pod))
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
