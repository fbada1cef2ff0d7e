"""Retry policies: decide per exception whether a failed try is repeated, and when (rows 1.225-1.228).

For DAG files (`retry_policy=`); evaluated in the task process when a try fails (`execution/`).
"""

from __future__ import annotations

import datetime as dt
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class RetryAction(StrEnum):
    """What to do with a failed try. DEFAULT: as `retries` and `retry_delay` say."""

    RETRY = "retry"
    FAIL = "fail"
    DEFAULT = "default"


@dataclass(slots=True)
class RetryDecision:
    """A policy's answer."""

    action: RetryAction = RetryAction.DEFAULT
    retry_delay: dt.timedelta | None = None
    """Instead of the task's own delay."""
    reason: str | None = None

    @classmethod
    def retry(cls, delay: dt.timedelta | None = None, reason: str | None = None) -> RetryDecision:
        """Try again."""
        return cls(RetryAction.RETRY, delay, reason)

    @classmethod
    def fail(cls, reason: str | None = None) -> RetryDecision:
        """Give up."""
        return cls(RetryAction.FAIL, None, reason)

    @classmethod
    def default(cls) -> RetryDecision:
        """Leave it to the task's arguments."""
        return cls()


class RetryPolicy:
    """Base class: override `evaluate`."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Decide about one failure."""
        raise NotImplementedError


class RetryRule:
    """What to do about some exceptions: classes, dotted paths, or a list of them."""

    def __init__(
        self,
        exception: Any,
        action: RetryAction | str = RetryAction.RETRY,
        retry_delay: dt.timedelta | None = None,
        reason: str | None = None,
        match_subclasses: bool = True,
    ) -> None:
        self.exceptions = list(exception) if isinstance(exception, Sequence) and not isinstance(exception, str) else [exception]
        self.action = RetryAction(action)
        self.retry_delay, self.reason, self.match_subclasses = retry_delay, reason, match_subclasses
        for item in self.exceptions:
            if not isinstance(item, str) and not (isinstance(item, type) and issubclass(item, BaseException)):
                raise TypeError(f"RetryRule: {item!r} is neither an exception class nor its dotted path")

    def matches(self, exception: BaseException) -> bool:
        """Whether the rule is about this exception."""
        for wanted in self.exceptions:
            cls = _class_of(wanted)
            if cls is not None and (isinstance(exception, cls) if self.match_subclasses else type(exception) is cls):
                return True
        return False


def _class_of(wanted: Any) -> Any:
    if isinstance(wanted, type):
        return wanted
    module, _, name = wanted.rpartition(".")
    try:
        return getattr(importlib.import_module(module or "builtins"), name)
    except (ImportError, AttributeError):
        return None


class ExceptionRetryPolicy(RetryPolicy):
    """The first rule that matches decides, else `default`."""

    def __init__(self, rules: Sequence[RetryRule], default: RetryDecision | None = None) -> None:
        self.rules = list(rules)
        self.default = default or RetryDecision.default()

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        for rule in self.rules:
            if rule.matches(exception):
                return RetryDecision(rule.action, rule.retry_delay, rule.reason)
        return self.default


class ChainRetryPolicy(RetryPolicy):
    """The first policy that decides anything but DEFAULT wins."""

    def __init__(self, *policies: RetryPolicy) -> None:
        self.policies = policies

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        for policy in self.policies:
            decision = policy.evaluate(exception, try_number, max_tries, context)
            if decision.action is not RetryAction.DEFAULT:
                return decision
        return RetryDecision.default()
