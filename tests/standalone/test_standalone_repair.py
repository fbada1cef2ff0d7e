"""What dies is started again, the rest goes on, and the ready file tells."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.standalone.stack import PARTS, StandaloneStack, alive, until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("standalone")]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_dies_is_started_again_and_the_others_stay(stack: StandaloneStack, part: str) -> None:
    before = stack.pids()
    os.kill(before[part], signal.SIGKILL)
    until(f"a new {part}", lambda: stack.pids()[part] not in (None, before[part]), stack.output)
    after = stack.pids()
    assert alive(after[part])
    assert {k: v for k, v in after.items() if k != part} == {k: v for k, v in before.items() if k != part}
    until("an answer", stack.answers, stack.output)


def test_the_database_is_started_again_and_the_others_find_it(stack: StandaloneStack) -> None:
    before = stack.pids()
    os.kill(before["postgres"], signal.SIGKILL)
    until("a new server", lambda: stack.pids()["postgres"] not in (None, before["postgres"]), stack.output)
    until("an answer", stack.answers, stack.output)
    after = stack.pids()
    assert {part: after[part] for part in PARTS} == {part: before[part] for part in PARTS}


def test_the_process_they_are_forked_from_may_die_too(stack: StandaloneStack) -> None:
    before = stack.pids()
    warm = int(Path(f"/proc/{before['web']}/stat").read_text().rpartition(")")[2].split()[1])
    assert warm != before["supervisor"]
    os.kill(warm, signal.SIGKILL)
    for part in ("web", "scheduler", "dag_processor"):
        until(f"a new {part}", lambda part=part: stack.pids()[part] not in (None, before[part]), stack.output)
    until("an answer", stack.answers, stack.output)
    assert stack.pids()["worker"] == before["worker"]
