"""The contract of an executor: take a reference of a try, show what became of it, end it, clear up after it.

For the executors in this package, for third parties, and for `apps.runs.executors.service`, which drives them. The ledger in
PostgreSQL is the truth: an executor keeps nothing in memory that matters, so that it may be killed at any instruction and
run several times side by side. Every method may be called again with what it was called with before.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from trackside.core.reasons import Reason


class ExecutorProblem(Exception):
    """The executor cannot work at all (a setting is wrong, a package is missing); the message says what to do."""


class Leases(StrEnum):
    """Who gives the signs of life of a running try."""

    WORKER = "worker"
    """A worker that holds many tries: its lease is theirs."""
    TRY = "try"
    """The runner of the one try, with heartbeats of its own."""


@dataclass(frozen=True, slots=True)
class TryRef:
    """A try as an executor may know it: names and wishes, never code."""

    id: UUID
    round: int
    """How often this try was queued: a deferred or rescheduled one goes on under its UUID, in a new place."""
    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    number: int
    queue: str = "default"
    submissions: int = 0
    """How often it was submitted since it was queued."""
    logical_date: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    """The task's `executor_config`."""
    start_token: str = field(default="", repr=False)
    """Lets a runner start exactly this try, once. For the place where the try runs only."""
    reuse_key: str = ""
    """What `Submission.reuse_key` said, if it was submitted before."""
    place: str = ""
    """Which place (`Known.place`) it was handed to, if any."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows of a try that is under way with its executor."""

    state: str
    """queued, running, or how it ended while its processes are still being killed."""
    since: datetime | None = None
    """When it was submitted."""
    reuse_key: str = ""
    place: str = ""
    """Which of the places that take several tries one after the other has it; "" none yet."""


class Fault(StrEnum):
    """Whose budget an end without a report is charged to."""

    USER = "user"
    INFRA = "infra"


class Verdict(StrEnum):
    """What became of one submission."""

    TAKEN = "taken"
    """On its way, or was already."""
    LATER = "later"
    """Not now (quota, broker away): the try stays queued with the reason and is submitted again."""
    REFUSED = "refused"
    """Never as it is (invalid pod spec): the try fails with the reason."""


@dataclass(slots=True)
class Submission:
    """The answer to one reference."""

    try_id: UUID
    verdict: Verdict
    reason: Reason | None = None
    fault: Fault = Fault.USER
    """REFUSED: whose."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the page of the try shows: pod, namespace, image …; no secrets."""
    reuse_key: str = ""
    """TAKEN: any place that asks for tries of this key may have it (`Executor.grant`); "" it has a place of its own."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a place that takes tries one after the other may ask for: tries of its key, and those that would be."""

    place: str
    reuse_key: str
    alias: str
    dag_id: str
    config: str
    """`config_digest` of the `executor_config` it was made for."""
    site: str
    """`Executor.fingerprint` of who made it."""
    seconds: int
    """How long it may ask."""


def config_digest(config: Mapping[str, Any]) -> str:
    """Tells apart tasks that wish for different places."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:24]


class Phase(StrEnum):
    """What an executor sees of one submission."""

    WAITING = "waiting"
    """User code has not begun; `reason` says why, if it takes long."""
    RUNNING = "running"
    ENDED = "ended"
    """Nothing of it runs any more; what is left of it may be read and then forgotten."""
    GONE = "gone"
    """It cannot be found. Whether it still runs somewhere only its missing signs of life can tell."""


@dataclass(slots=True)
class Seen:
    """One submission as the executor sees it now."""

    try_id: UUID
    round: int
    """0: of whatever round."""
    phase: Phase
    reason: Reason | None = None
    fault: Fault | None = None
    """Set when it cannot go on: ended without a report, or will never start."""
    exit_code: int | None = None
    signal: int | None = None
    since: datetime | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    log: str = ""
    """Words for the try's log: events, and the last lines of what never reached the server by itself."""
    vague: bool = False
    """It ended, and the executor cannot say why: what its runner said counts, if it said anything."""


class Executor(ABC):
    """One configured executor (one alias) in one process. All methods are called from one thread."""

    leases: ClassVar[Leases]
    supports_cancel: ClassVar[bool] = True
    """False: running tries are ended by their worker, which hears it from the server."""

    def __init__(self, alias: str, settings: Mapping[str, str]) -> None:
        self.alias = alias
        self.settings = settings
        """The environment, with `<NAME>_FILE` not resolved."""
        self.grant: Callable[[Grant], str] | None = None
        """Set by whoever drives it: makes the token with which a place may ask for tries."""
        self.fingerprint = ""
        """Another one whenever it would make another place for the same wishes; "" it makes none that take several tries."""
        self.ledger: Callable[[], Mapping[UUID, Known]] = dict
        """Set by whoever drives it: what is under way with it now. `look` is told the same, but may have been a while ago."""

    def open(self, wake: Callable[[], None]) -> None:  # noqa: B027 - not every executor has something to begin
        """Begin. `wake` is called, from any thread, when `look` has news. Raises ExecutorProblem."""

    def close(self) -> None:  # noqa: B027
        """End threads and connections; what was submitted goes on."""

    @abstractmethod
    def capacity(self, live: int) -> int:
        """How many submissions it takes now, when `live` are under way (counted in the database)."""

    def waits_for(self) -> Reason | None:
        """Why it takes none at present; None if it does."""
        return None

    def rest(self) -> float:
        """Seconds for which it may be left alone, if nothing else happens."""
        return 5.0

    def idle_places(self) -> int | None:
        """How many places (`Known.place`) have no try now, for the page of processes; None: it has no such places."""
        return None

    @abstractmethod
    def submit(self, refs: Sequence[TryRef]) -> list[Submission]:
        """Bring these under way. Bounded in time; the same reference twice makes one submission."""

    @abstractmethod
    def lost(self, submitted: Sequence[tuple[TryRef, datetime]], now: datetime) -> Collection[UUID]:
        """Which of these queued tries, submitted at those moments, must be submitted again."""

    def look(self, known: Mapping[UUID, Known]) -> list[Seen]:
        """News since the last call about anything under way, and about those of `known` tries that are gone."""
        return []

    def cancel(self, try_ids: Collection[UUID]) -> None:  # noqa: B027
        """End these; `look` reports GONE once nothing of them is left."""

    def forget(self, rounds: Collection[tuple[UUID, int]], failed: Collection[UUID] = ()) -> None:  # noqa: B027
        """These rounds of tries are over and everything about them is stored: remove what is left of them. A try that was
        deferred goes on in its next round, of which nothing may be touched."""
