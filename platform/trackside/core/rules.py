"""The 13 trigger rules: upstream states in, verdict out. Airflow 3.3's semantics, observed where they surprise.

Called by `planning` for every task instance that could be scheduled. A verdict may come before all upstreams are done:
one failure decides all_success at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from trackside.core.states import TaskState


class TriggerRule(StrEnum):
    """When a task runs, in terms of its direct upstream."""

    ALL_SUCCESS = "all_success"
    ALL_FAILED = "all_failed"
    ALL_DONE = "all_done"
    ALL_DONE_MIN_ONE_SUCCESS = "all_done_min_one_success"
    ALL_DONE_SETUP_SUCCESS = "all_done_setup_success"
    ALL_SKIPPED = "all_skipped"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    ONE_DONE = "one_done"
    NONE_FAILED = "none_failed"
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    NONE_SKIPPED = "none_skipped"
    ALWAYS = "always"


class Verdict(StrEnum):
    """What a rule says about a task instance now."""

    RUN = "run"
    WAIT = "wait"
    SKIP = "skipped"
    UPSTREAM_FAIL = "upstream_failed"
    REMOVE = "removed"


@dataclass(slots=True)
class Upstream:
    """How many relevant upstream task instances there are, by state; each mapped index counts as one."""

    total: int = 0
    success: int = 0
    skipped: int = 0
    failed: int = 0
    upstream_failed: int = 0
    removed: int = 0
    setups: int = 0
    success_setups: int = 0
    skipped_setups: int = 0

    @property
    def done(self) -> int:
        """Finished, whatever how."""
        return self.success + self.skipped + self.failed + self.upstream_failed + self.removed

    @property
    def all_done(self) -> bool:
        """Nothing upstream is still open."""
        return self.done >= self.total

    @property
    def bad(self) -> int:
        """Failed or upstream_failed."""
        return self.failed + self.upstream_failed

    def add(self, state: str, *, is_setup: bool = False, count: int = 1) -> None:
        """Count `count` instances in `state`."""
        self.total += count
        if is_setup:
            self.setups += count
        match state:
            case TaskState.SUCCESS:
                self.success += count
                self.success_setups += count if is_setup else 0
            case TaskState.SKIPPED:
                self.skipped += count
                self.skipped_setups += count if is_setup else 0
            case TaskState.FAILED:
                self.failed += count
            case TaskState.UPSTREAM_FAILED:
                self.upstream_failed += count
            case TaskState.REMOVED:
                self.removed += count


def _all_success(up: Upstream) -> Verdict:
    if up.bad:
        return Verdict.UPSTREAM_FAIL
    if up.skipped:
        return Verdict.SKIP
    return Verdict.RUN if up.success + up.removed >= up.total else Verdict.WAIT


def _all_failed(up: Upstream) -> Verdict:
    if up.success or up.skipped:
        return Verdict.SKIP
    return Verdict.RUN if up.bad + up.removed >= up.total else Verdict.WAIT


def _all_done(up: Upstream) -> Verdict:
    return Verdict.RUN if up.all_done else Verdict.WAIT


def _all_done_min_one_success(up: Upstream) -> Verdict:
    if up.skipped:
        return Verdict.SKIP
    if not up.all_done:
        return Verdict.WAIT
    return Verdict.RUN if up.success else Verdict.UPSTREAM_FAIL


def _all_done_setup_success(up: Upstream) -> Verdict:
    if not up.all_done:
        return Verdict.WAIT
    if not up.setups or up.success_setups:
        return Verdict.RUN
    return Verdict.SKIP if up.skipped_setups >= up.setups else Verdict.UPSTREAM_FAIL


def _all_skipped(up: Upstream) -> Verdict:
    if up.success or up.bad:
        return Verdict.SKIP
    return Verdict.RUN if up.skipped + up.removed >= up.total else Verdict.WAIT


def _one_success(up: Upstream) -> Verdict:
    if up.success:
        return Verdict.RUN
    if not up.all_done:
        return Verdict.WAIT
    return Verdict.SKIP if up.skipped >= up.total else Verdict.UPSTREAM_FAIL


def _one_failed(up: Upstream) -> Verdict:
    if up.bad:
        return Verdict.RUN
    return Verdict.SKIP if up.all_done else Verdict.WAIT


def _one_done(up: Upstream) -> Verdict:
    # a skip or upstream_failed is not "done" in the sense of this rule
    if up.success or up.failed:
        return Verdict.RUN
    return Verdict.SKIP if up.all_done else Verdict.WAIT


def _none_failed(up: Upstream) -> Verdict:
    if up.bad:
        return Verdict.UPSTREAM_FAIL
    return Verdict.RUN if up.all_done else Verdict.WAIT


def _none_failed_min_one_success(up: Upstream) -> Verdict:
    if up.bad:
        return Verdict.UPSTREAM_FAIL
    if up.skipped >= up.total:
        return Verdict.SKIP
    return Verdict.RUN if up.all_done else Verdict.WAIT


def _none_skipped(up: Upstream) -> Verdict:
    if up.skipped:
        return Verdict.SKIP
    return Verdict.RUN if up.all_done else Verdict.WAIT


def _always(up: Upstream) -> Verdict:
    return Verdict.RUN


_RULES: dict[str, Callable[[Upstream], Verdict]] = {
    TriggerRule.ALL_SUCCESS: _all_success,
    TriggerRule.ALL_FAILED: _all_failed,
    TriggerRule.ALL_DONE: _all_done,
    TriggerRule.ALL_DONE_MIN_ONE_SUCCESS: _all_done_min_one_success,
    TriggerRule.ALL_DONE_SETUP_SUCCESS: _all_done_setup_success,
    TriggerRule.ALL_SKIPPED: _all_skipped,
    TriggerRule.ONE_SUCCESS: _one_success,
    TriggerRule.ONE_FAILED: _one_failed,
    TriggerRule.ONE_DONE: _one_done,
    TriggerRule.NONE_FAILED: _none_failed,
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: _none_failed_min_one_success,
    TriggerRule.NONE_SKIPPED: _none_skipped,
    TriggerRule.ALWAYS: _always,
}


def evaluate(rule: str, up: Upstream) -> Verdict:
    """Verdict of `rule` over the counted upstream; a task without upstream always runs."""
    if up.total == 0:
        return Verdict.RUN
    return _RULES[rule](up)
