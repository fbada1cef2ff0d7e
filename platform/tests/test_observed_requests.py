"""Which requests count with how long they took."""

from __future__ import annotations

import pytest

from config import observing


@pytest.mark.parametrize(
    ("path", "is_timed"),
    [
        ("/api/v2/assets/events", True),
        ("/api/v2/dags", True),
        ("/api/trackside/v1/events", False),
        ("/api/v2/dags/d/dagRuns/r/wait", False),
        ("/api/trackside/v1/dags/d/runs/r/tasks/t/log/follow", False),
        ("/execution/exchange", False),
    ],
)
def test_calls_that_wait_for_news_are_counted_without_their_time(monkeypatch: pytest.MonkeyPatch, path: str, is_timed: bool) -> None:
    counted: list[tuple[str, float | None]] = []
    monkeypatch.setattr(observing, "count", lambda door, method, status, seconds: counted.append((door, seconds)))
    observing._note({"path": path, "method": "GET"}, 200, 30.0)
    assert counted == [("execution" if path.startswith("/execution") else "rest", 30.0 if is_timed else None)]
