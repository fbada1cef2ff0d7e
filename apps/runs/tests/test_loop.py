"""The loop of background duties when its tables are not there yet."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from datetime import datetime

import pytest
from django.db import ProgrammingError

from apps.runs import loop, wake
from apps.runs.loop import Loop
from apps.runs.metrics import health

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Failing:
    """A duty whose statements name what the database does not have."""

    def __init__(self) -> None:
        self.loop = Loop("scheduler", self.step, wake.SCHEDULER)

    def step(self) -> datetime | None:
        self.loop.stop()  # after this one
        raise ProgrammingError('relation "runs_run" does not exist')


def test_a_process_that_starts_before_the_migrations_says_in_a_line_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "misfit", lambda: "The database lacks 3 migrations.")
    Failing().loop.run()
    (said,) = [r for r in caplog.records if r.name == loop.logger.name]
    assert (said.levelno, said.exc_info) == (logging.WARNING, None)
    assert "waits for the migrations" in said.getMessage() and "lacks 3 migrations" in said.getMessage()


def test_a_wrong_statement_is_still_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    Failing().loop.run()
    (said,) = [r for r in caplog.records if r.name == loop.logger.name]
    assert said.levelno == logging.ERROR and said.exc_info and said.exc_info[0] is ProgrammingError
