"""EmptyOperator: a task that does nothing, to group or join others."""

from __future__ import annotations

from typing import Any

from trackside.sdk.operator import BaseOperator


class EmptyOperator(BaseOperator):
    """Does nothing. Without callbacks and outlets it is completed by the scheduler, no worker sees it."""

    ui_color = "#e8f7e4"
    inherits_from_empty_operator = True

    def execute(self, context: Any) -> None:
        """Nothing."""
