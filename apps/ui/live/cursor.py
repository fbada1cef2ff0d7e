"""Where a page's data ends and its event stream begins.

A cursor is PostgreSQL's own `pg_current_snapshot()` text, taken before the page's data: "xmin:xmax:xip,…". The stream then
holds exactly the events of transactions that this snapshot did not see. The same row may be told twice, never not at all;
within a row the event with the higher id is the later change, because its id was drawn while the row was locked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db import connection
from django.db.models.expressions import RawSQL

_TEXT = re.compile(r"(\d{1,20}):(\d{1,20}):((?:\d{1,20}(?:,\d{1,20})*)?)")
MAX_LENGTH = 8192


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a snapshot saw: everything below `xmin`, nothing from `xmax` on, in between all but `open`."""

    xmin: int
    xmax: int
    open: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read a cursor that a page sent back; raises ValueError for anything else."""
        found = _TEXT.fullmatch(text) if len(text) <= MAX_LENGTH else None
        if found is None:
            raise ValueError("not a cursor")
        running = frozenset(int(x) for x in found[3].split(",")) if found[3] else frozenset[int]()
        return cls(int(found[1]), int(found[2]), running)

    def sees(self, xid: int) -> bool:
        """Whether the snapshot already contains that transaction's work."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.open)

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(str(x) for x in sorted(self.open))}"


OF_STATEMENT = RawSQL("pg_current_snapshot()::text", ())
"""For `annotate`: the cursor of the very reading that asks for it, without a statement of its own."""


def take() -> str:
    """The cursor of this moment. Take it before reading what it shall belong to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_snapshot()::text")
        row = cursor.fetchone()
    assert row is not None
    return str(row[0])
