"""What `with` blocks are open while a DAG file runs: the current DAG, task group and setup/teardown scope.

For `DAG`, `TaskGroup` and operators, which look here for what they were not told. Next door: `parsing.py` reads
`registered`, the DAGs whose `with` block ended in the file being parsed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trackside.sdk.dag import DAG
    from trackside.sdk.taskgroup import TaskGroup


class DagContext:
    """The open `with DAG(...)` blocks."""

    stack: list[DAG] = []
    registered: list[DAG] | None = None
    """DAGs to report although they are no module global; None outside parsing."""

    @classmethod
    def push(cls, dag: DAG) -> None:
        cls.stack.append(dag)
        TaskGroupContext.stack.append(dag.task_group)

    @classmethod
    def pop(cls) -> DAG:
        dag = cls.stack.pop()
        TaskGroupContext.stack.pop()
        if cls.registered is not None and dag.auto_register:
            cls.registered.append(dag)
        return dag

    @classmethod
    def get_current_dag(cls) -> DAG | None:
        """The innermost open DAG."""
        return cls.stack[-1] if cls.stack else None

    get_current = get_current_dag


class TaskGroupContext:
    """The open `with TaskGroup(...)` blocks, each DAG's root group included."""

    stack: list[TaskGroup] = []

    @classmethod
    def get_current_task_group(cls, dag: DAG | None) -> TaskGroup | None:
        """The group a new task goes to: the innermost open one if it belongs to `dag`, else the root of `dag`."""
        if cls.stack and (dag is None or cls.stack[-1].dag is dag):
            return cls.stack[-1]
        return dag.task_group if dag is not None else None

    get_current = get_current_task_group


def reset() -> None:
    """Forget all open blocks: a file that raised inside a `with` must not leak into the next one."""
    from trackside.sdk.setup_teardown import SetupTeardownContext

    DagContext.stack.clear()
    TaskGroupContext.stack.clear()
    SetupTeardownContext.stack.clear()
