"""What user code says about the tries a task will have: weights of own strategies, `task_instance_mutation_hook`.

For `sdk.serialization`: the answers become `TaskSpec.by_try`, so that the server knows them without running user code.
"""

from __future__ import annotations

from typing import Any

from trackside.sdk.plugins import policies
from trackside.sdk.plugins.priority import strategy_of

MOST = 25
"""Tries asked about; later ones are like the last."""
_CHANGEABLE = ("priority_weight", "queue", "pool", "pool_slots", "executor")


class PlannedTry:
    """A task instance as strategies and the mutation hook may look at it before there is one."""

    def __init__(self, task: Any, dag: Any, try_number: int) -> None:
        base = task._base if task.is_mapped else task
        self.task, self.dag = task, dag
        self.task_id, self.dag_id, self.map_index, self.run_id = task.task_id, dag.dag_id, -1, None
        self.try_number = self._try_number = try_number
        self.max_tries, self.state, self.dag_run, self.logical_date = base.retries, None, None, None
        self.priority_weight, self.weight_rule = base.priority_weight, base.weight_rule
        self.queue, self.pool, self.pool_slots, self.executor = base.queue, base.pool, base.pool_slots, base.executor
        self.executor_config, self.operator = base.executor_config, task.operator_name
        self.hostname, self.start_date, self.end_date = "", None, None

    def facts(self) -> dict[str, Any]:
        """What the hook may change."""
        return {name: getattr(self, name) for name in _CHANGEABLE}


def by_try(task: Any, dag: Any) -> list[dict[str, Any]]:
    """Per try number from 1: what differs from the task itself; [] when nothing does.

    Airflow computes an own strategy's weight with the number of tries made before, so the first try is asked with 0.
    """
    base = task._base if task.is_mapped else task
    strategy = strategy_of(getattr(base, "_weight_strategy", None) or base.weight_rule)
    hooks = policies.load()["task_instance_mutation_hook"]
    if strategy is None and not hooks:
        return []
    found = []
    for number in range(min(base.retries + 1, MOST)):
        planned = PlannedTry(task, dag, number)
        said: dict[str, Any] = {}
        if strategy is not None:
            said["priority_weight"] = planned.priority_weight = int(strategy.get_weight(planned))
        if hooks:
            before = planned.facts()
            policies.mutate(planned)
            said |= {name: value for name, value in planned.facts().items() if value != before[name]}
        found.append(said)
    return found if any(found) else []
