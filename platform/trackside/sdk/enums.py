"""The words DAG authors pass as arguments: trigger rules, weight rules, states.

For `from airflow.sdk import TriggerRule, WeightRule, DagRunState, TaskInstanceState`. The states themselves, with who
sets them, are in `core.states`; the meaning of the rules in `core` planning.
"""

from __future__ import annotations

from enum import StrEnum

from trackside.core.states import RunState as DagRunState
from trackside.core.states import RunType as DagRunType

__all__ = ["DagRunState", "DagRunType", "TaskInstanceState", "TriggerRule", "WeightRule", "trigger_rule", "weight_rule"]


class TriggerRule(StrEnum):
    """When a task may run, seen from the states of its direct upstream tasks (rows 1.159-1.171)."""

    ALL_SUCCESS = "all_success"
    ALL_FAILED = "all_failed"
    ALL_DONE = "all_done"
    ALL_DONE_MIN_ONE_SUCCESS = "all_done_min_one_success"
    ALL_DONE_SETUP_SUCCESS = "all_done_setup_success"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    ONE_DONE = "one_done"
    NONE_FAILED = "none_failed"
    NONE_SKIPPED = "none_skipped"
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    ALL_SKIPPED = "all_skipped"
    ALWAYS = "always"

    @classmethod
    def is_valid(cls, trigger_rule: str) -> bool:
        """Whether that is the name of a rule."""
        return trigger_rule in cls.all_triggers()

    @classmethod
    def all_triggers(cls) -> set[str]:
        """Names of all rules."""
        return {str(rule) for rule in cls}


class WeightRule(StrEnum):
    """How a task's priority follows from the weights around it (rows 1.188-1.190)."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    ABSOLUTE = "absolute"

    @classmethod
    def is_valid(cls, weight_rule: str) -> bool:
        """Whether that is the name of a rule."""
        return weight_rule in cls.all_weight_rules()

    @classmethod
    def all_weight_rules(cls) -> set[str]:
        """Names of all rules."""
        return {str(rule) for rule in cls}


class TaskInstanceState(StrEnum):
    """States a task instance can have; "no state yet" is None, as in Airflow."""

    REMOVED = "removed"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    RESTARTING = "restarting"
    FAILED = "failed"
    UP_FOR_RETRY = "up_for_retry"
    UP_FOR_RESCHEDULE = "up_for_reschedule"
    UPSTREAM_FAILED = "upstream_failed"
    SKIPPED = "skipped"
    DEFERRED = "deferred"
    AWAITING_INPUT = "awaiting_input"


def trigger_rule(value: str) -> TriggerRule:
    """The rule of that name. Raises ValueError listing the valid ones."""
    try:
        return TriggerRule(value)
    except ValueError:
        known = ", ".join(sorted(TriggerRule.all_triggers()))
        raise ValueError(f"trigger_rule {value!r} does not exist; use one of: {known}") from None


def weight_rule(value: object) -> str:
    """The name to store: a rule, or the dotted path of a custom strategy (a class, an instance, or its path)."""
    if isinstance(value, str):
        if WeightRule.is_valid(value) or "." in value:
            return str(value)
        known = ", ".join(sorted(WeightRule.all_weight_rules()))
        raise ValueError(f"weight_rule {value!r} does not exist; use one of: {known} (or the dotted path of a strategy)")
    cls = value if isinstance(value, type) else type(value)
    if not hasattr(cls, "get_weight"):
        raise ValueError(f"weight_rule {value!r} is neither a rule's name nor a PriorityWeightStrategy")
    return f"{cls.__module__}.{cls.__qualname__}"
