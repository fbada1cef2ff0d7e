"""Prepared statements for the hot paths of the ledger (`apps.access.prepared` has the machinery), and the database's clock."""

from __future__ import annotations

from datetime import datetime

from apps.access.prepared import insert, rows, run

__all__ = ["insert", "now", "rows", "run"]


def now() -> datetime:
    """The database's clock: the one clock of every decision."""
    return rows("SELECT clock_timestamp()")[0][0]
