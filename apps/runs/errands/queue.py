"""Errands come into being, in the transaction of what causes them: nothing is asked for that was rolled back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from apps.runs import wake
from apps.runs.errands.models import Errand


def put(
    kind: str, title: str, payload: dict[str, Any], *, dag_id: str | None = None, run_pk: int | None = None, ti_pk: int | None = None,
    try_id: UUID | None = None, runs_in: str = "processor",
) -> Errand:  # fmt: skip
    """Ask for one errand."""
    errand = Errand(
        kind=kind, title=title[:250], payload=payload, dag_id=dag_id, run_id=run_pk, ti_id=ti_pk, try_id=try_id, runs_in=runs_in
    )
    put_all([errand])
    return errand


def put_all(errands: Sequence[Errand]) -> None:
    """Ask for many at once."""
    if errands:
        Errand.objects.bulk_create(errands)
        channels = {wake.TRIGGER if e.runs_in == "triggerer" else wake.ERRAND for e in errands}
        wake.send_on_commit(*sorted(channels))
