"""`with` blocks around work: `with teardown_task: …` ties everything inside to the setups before and the teardown after.

For operators and XComArgs (`__enter__`/`__exit__`). The roots of the work wait for the setups, the teardowns wait for
its leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trackside.sdk.abstract import AbstractOperator


class _Scope:
    """One open block."""

    def __init__(self, setups: list[AbstractOperator], teardowns: list[AbstractOperator]) -> None:
        self.setups, self.teardowns = setups, teardowns
        self.work: list[AbstractOperator] = []


class SetupTeardownContext:
    """The open blocks, innermost last."""

    stack: list[_Scope] = []

    @classmethod
    def enter(cls, tasks: Iterable[AbstractOperator]) -> None:
        """Open a block for setups and/or teardowns. Raises ValueError for ordinary tasks."""
        tasks = list(tasks)
        plain = [task.task_id for task in tasks if not task.is_setup and not task.is_teardown]
        if plain or not tasks:
            raise ValueError(
                f"Only setup/teardown tasks can be used as context managers, not {', '.join(plain) or 'nothing'}; "
                "mark them with .as_setup() or .as_teardown() first"
            )
        setups = [task for task in tasks if task.is_setup]
        teardowns = [task for task in tasks if task.is_teardown]
        if not setups:  # a teardown brings the setups it was given
            setups = [up for task in teardowns for up in task.upstream_list if up.is_setup]
        if not teardowns:
            teardowns = [down for task in setups for down in task.downstream_list if down.is_teardown]
        cls.stack.append(_Scope(setups, teardowns))

    @classmethod
    def exit(cls) -> None:
        """Close the innermost block and draw its edges."""
        scope = cls.stack.pop()
        inside = {task.task_id for task in scope.work}
        for task in scope.work:
            if task.is_setup and task in scope.setups:
                continue
            if not task.upstream_task_ids & inside:
                task.set_upstream(scope.setups)
            if not task.is_teardown and not _work_below(task, inside):
                task.set_downstream(scope.teardowns)
        for setup in scope.setups:
            if scope.teardowns:
                setup.set_downstream(scope.teardowns)
        if cls.stack:  # what is inside the inner block is inside the outer one, too
            cls.stack[-1].work.extend([*scope.setups, *scope.work, *scope.teardowns])

    @classmethod
    def add(cls, task: AbstractOperator) -> None:
        """A task was made inside the innermost open block."""
        if cls.stack:
            cls.stack[-1].work.append(task)


def _work_below(task: AbstractOperator, inside: set[str]) -> bool:
    """Whether something else of the block follows, teardowns not counted."""
    return any(down.task_id in inside and not down.is_teardown for down in task.downstream_list)


class ContextWrapper(list[Any]):
    """`with context_wrapper([teardown_a, teardown_b]):` for several setups or teardowns at once."""

    def __init__(self, tasks: Iterable[Any]) -> None:
        super().__init__(tasks)

    def __enter__(self) -> ContextWrapper:
        SetupTeardownContext.enter([task for item in self for task in item.leaves])
        return self

    def __exit__(self, *exc: object) -> None:
        SetupTeardownContext.exit()

    @staticmethod
    def add_task(*tasks: Any) -> None:
        """Put tasks made outside into the open block."""
        for item in tasks:
            for task in item.leaves:
                SetupTeardownContext.add(task)


context_wrapper = ContextWrapper
