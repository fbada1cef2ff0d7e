"""The server's end: a message per queued try, and again for those the broker has lost.

A message in a purged or flushed broker is found by looking at how many wait in its queue: none, and the try is still
queued, means that it is sent again. One message too many is harmless: whoever gets it hears that the try is not to be had.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError

from trackside.core.reasons import Reason
from trackside.executors.base import Executor, Leases, Submission, TryRef, Verdict
from trackside.executors.celery.app import TASK, broker_url, make_app, shown

RESEND_FIRST = timedelta(seconds=10)
"""A try whose queue is empty and that nobody has started after this long is sent again; then after twice as long, …"""
RESEND_MOST = timedelta(minutes=10)
RESEND_BEHIND_OTHERS = timedelta(hours=1)
"""The same while messages wait in its queue: it is probably one of them."""
PAUSE_S = 2.0
"""After the broker could not be reached."""
TROUBLE = (OperationalError, ConnectionError, OSError, TimeoutError)

logger = logging.getLogger(__name__)


class CeleryExecutor(Executor):
    """Sends; keeps nothing but a connection."""

    leases: ClassVar[Leases] = Leases.WORKER
    supports_cancel: ClassVar[bool] = False

    def __init__(self, alias: str, settings: Mapping[str, str]) -> None:
        super().__init__(alias, settings)
        self.app: Celery = make_app(settings)
        self._broker = shown(broker_url(settings))
        self._paused_until = 0.0
        self._why: str = ""

    def open(self, wake: Callable[[], None]) -> None:
        """See `Executor`."""
        logger.info("executor %s: sending to %s", self.alias, self._broker)

    def close(self) -> None:
        """See `Executor`."""
        self.app.close()

    def capacity(self, live: int) -> int:
        """The broker takes any number; its workers take as many as they have slots."""
        return 0 if time.monotonic() < self._paused_until else 512

    def waits_for(self) -> Reason | None:
        """See `Executor`."""
        if time.monotonic() >= self._paused_until:
            return None
        text = f"The broker {self._broker} does not answer ({self._why}). It is tried every few seconds; check TRACKSIDE_CELERY_BROKER_URL."
        return Reason("broker", text)

    def submit(self, refs: Sequence[TryRef]) -> list[Submission]:
        """One message each; the first failure gives the rest back."""
        answers = []
        try:
            with self.app.producer_or_acquire() as producer:
                for ref in refs:
                    self._send(producer, ref)
                    answers.append(
                        Submission(ref.id, Verdict.TAKEN, self._waiting(ref))
                    )
        except TROUBLE as error:
            self._pause(error)
            done = {a.try_id for a in answers}
            answers += [Submission(ref.id, Verdict.LATER, self.waits_for()) for ref in refs if ref.id not in done]
        return answers

    def lost(self, submitted: Sequence[tuple[TryRef, datetime]], now: datetime) -> Collection[UUID]:
        """See the module."""
        waiting: dict[str, list[tuple[TryRef, timedelta]]] = defaultdict(list)
        for ref, at in submitted:
            if now - at >= RESEND_FIRST:
                waiting[ref.queue].append((ref, now - at))
        found = []
        for queue, refs in waiting.items():
            depth = self._depth(queue)
            for ref, age in refs:
                patience = min(RESEND_FIRST * 2 ** min(max(ref.submissions - 1, 0), 10), RESEND_MOST)
                if depth is not None and age >= (patience if depth == 0 else RESEND_BEHIND_OTHERS):
                    found.append(ref.id)
        return found

    def _send(self, producer: Any, ref: TryRef) -> None:
        self.app.send_task(
            TASK, args=[str(ref.id)], task_id=str(ref.id), queue=ref.queue, producer=producer, retry=False, ignore_result=True
        )

    def _waiting(self, ref: TryRef) -> Reason | None:
        if ref.submissions <= 1:
            return None
        return Reason(
            "worker", f"Waits for a free Celery worker of queue {ref.queue}. Its message was lost and sent {ref.submissions} times."
        )

    def _depth(self, queue: str) -> int | None:
        """Messages that wait in a queue; None if the broker does not say."""
        try:
            with self.app.connection_or_acquire() as connection:
                if not connection.connected:
                    connection.connect()  # a queue that was not there has closed it, and the pool does not open it again
                with connection.channel() as channel:
                    return int(channel.queue_declare(queue=queue, passive=True).message_count)
        except ChannelError:
            return 0  # Redis forgets empty queues
        except TROUBLE as error:
            self._pause(error)
            return None

    def _pause(self, error: BaseException) -> None:
        if time.monotonic() >= self._paused_until:
            logger.warning("executor %s: the broker %s does not answer: %s", self.alias, self._broker, error)
        self._why = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        self._paused_until = time.monotonic() + PAUSE_S
