"""Retry policies: decide per exception whether a failed try is repeated, and when (rows 1.225-1.228).

For DAG files (`retry_policy=`); evaluated in the task process when a try fails (`execution/`).
"""

from __future__ import annotations

import abc
import datetime as dt
import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

log = logging.getLogger(__name__)


class RetryAction(StrEnum):
    """What to do with a failed try. DEFAULT: as `retries` and `retry_delay` say."""

    RETRY = "retry"
    FAIL = "fail"
    DEFAULT = "default"


@dataclass(slots=True, frozen=True)
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


class RetryPolicy(abc.ABC):
    """Base class: override `evaluate`."""

    @abc.abstractmethod
    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Decide about one failure."""

    def serialize(self) -> dict[str, Any]:
        """For policies that describe themselves as JSON."""
        raise NotImplementedError(f"{type(self).__name__} must implement serialize()")

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> RetryPolicy:
        """Inverse of `serialize`."""
        raise NotImplementedError(f"{cls.__name__} must implement deserialize()")


@dataclass
class RetryRule:
    """What to do about some exceptions: a class, a dotted path, or a list of them."""

    exception: Any
    action: RetryAction = RetryAction.RETRY
    retry_delay: dt.timedelta | None = None
    reason: str | None = None
    match_subclasses: bool = True

    def __post_init__(self) -> None:
        self.action = RetryAction(self.action)
        for item in self.exceptions:
            if isinstance(item, str):
                if "." not in item:
                    raise ValueError(f"RetryRule: {item!r} must be a dotted path, for example 'builtins.ValueError'")
            elif not (isinstance(item, type) and issubclass(item, BaseException)):
                raise TypeError(f"RetryRule: {item!r} is neither an exception class nor its dotted path")

    @property
    def exceptions(self) -> list[Any]:
        """What `exception` names, as a list."""
        several = isinstance(self.exception, Sequence) and not isinstance(self.exception, str)
        return list(self.exception) if several else [self.exception]

    @property
    def exception_path(self) -> str:
        """Dotted paths of the exceptions, comma separated."""
        return ",".join(e if isinstance(e, str) else f"{e.__module__}.{e.__qualname__}" for e in self.exceptions)

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
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        log.warning("The exception class %r of a retry rule cannot be imported; it matches nothing", wanted)
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
