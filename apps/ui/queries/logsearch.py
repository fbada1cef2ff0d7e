"""A text in the logs of many tries, newest first. For the page `/logs`; one log is searched by its own viewer (`logwindow`).

Logs are files that nothing indexes, so a look is bounded: by tries, by hits and by time. It says how far it came, and goes on from there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q

from apps.access import policy
from apps.runs.models import Try
from apps.ui import logwindow

TRIES = 200
"""Read in one look."""
SHOWN = 20
"""Tries with a hit after which a look ends."""
LINES = 3
"""Shown of one try."""
SECONDS = 2.0
OF_ONE = 0.4
"""Seconds for one log; a longer one is searched in its viewer."""
LONGEST = 200
"""Characters of what is searched."""


@dataclass(slots=True)
class Found:
    """One try with hits."""

    row: Try
    lines: list[tuple[int, str]]
    """(number, text) of the first."""
    more: bool
    """There are further ones."""


@dataclass(slots=True)
class Look:
    """What one look gave."""

    found: list[Found] = field(default_factory=list)
    tries: int = 0
    """How many were looked through."""
    cut: int = 0
    """Of these, logs too long to be read to their end."""
    oldest: Try | None = None
    following: str = ""
    """`before` of the look that goes on; empty at the end."""


def search(user: Any, text: str, *, dag: str = "", state: str = "", before: str = "") -> Look:
    """Tries whose log holds the text, whatever its case. One statement for any number of tries."""
    rows = Try.objects.filter(policy.visible_dags(user, "ti__run__dag")).select_related("ti__run__dag")
    if dag:
        rows = rows.filter(ti__dag_id=dag)
    if state:
        rows = rows.filter(ti__state=state)
    if last := _key(before):
        rows = rows.filter(Q(ti_id__lt=last[0]) | Q(ti_id=last[0], number__lt=last[1]))
    rows = rows.only("number", "ti__dag_id", "ti__task_id", "ti__map_index", "ti__state", "ti__run__run_id", "ti__run__run_after",
                     "ti__run__dag__timezone", "state", "final_state")  # fmt: skip
    look, deadline = Look(), time.monotonic() + SECONDS
    known = list(rows.order_by("-ti_id", "-number")[: TRIES + 1])
    for row in known[:TRIES]:
        if len(look.found) >= SHOWN or time.monotonic() > deadline:
            break
        look.tries, look.oldest = look.tries + 1, row
        _one(look, row, text)
    if look.oldest and look.tries < len(known):
        look.following = f"{look.oldest.ti_id}.{look.oldest.number}"
    return look


def _one(look: Look, row: Try, text: str) -> None:
    try:
        told = logwindow.search(row, text, limit=LINES + 1, seconds=OF_ONE)
        numbers = [number for number, _rank in told["hits"]]
        look.cut += told["next"] is not None and len(numbers) <= LINES
        if numbers:
            lines = logwindow.passages(row, numbers[:LINES], text)
            look.found.append(Found(row, lines, len(numbers) > LINES))
    except OSError:  # removed meanwhile, or a store that does not answer: it is not here, as in its viewer
        return


def _key(text: str) -> tuple[int, int] | None:
    instance, _, number = text.partition(".")
    return (int(instance), int(number)) if _small(instance, 19) and _small(number, 10) else None


def _small(text: str, digits: int) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < digits
