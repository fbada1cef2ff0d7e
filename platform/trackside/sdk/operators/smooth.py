"""SmoothOperator: puts the song of that name into the log."""

from __future__ import annotations

from typing import Any

from trackside.sdk.operator import BaseOperator


class SmoothOperator(BaseOperator):
    """Logs where to hear Sade's "Smooth Operator"."""

    ui_color = "#e8f7e4"
    yt_link: str = "https://www.youtube.com/watch?v=4TYv2PhG89A"

    def execute(self, context: Any) -> None:
        """Log it."""
        self.log.info("Enjoy Sade - Smooth Operator: %s", self.yt_link)
