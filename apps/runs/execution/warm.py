"""The door of warm pods: `POST /execution/warm/next` brings a pod that serves one try after the other its next one.

The pod then starts the try by the doors of a single runner (`doors`). Which tries a pod may have says its token
(`tokens.place_token`). A try that was handed to a place stays the answer until it is started: a lost answer costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.runs import claims, sql
from apps.runs.execution import tokens
from apps.runs.execution.refusal import Refused


@dataclass(slots=True)
class HandOut:
    """The answer: `try_id` and `start_token`, or nothing."""

    body: dict[str, Any] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Nothing to tell: the call may be parked."""
        return not self.body


def place_of(token: str) -> tuple[str, str]:
    """(reuse key, place) of the caller. Raises Refused."""
    found = tokens.place_of(token)
    if found is None:
        raise Refused(401, "This token does not let a warm pod ask for tries (any more).")
    return found


# What the place has, and whether anything waits for one. The literals repeat the condition of the index try_reuse.
_LOOK = """
SELECT t.id, t.place = %(place)s::text, t.state = 'queued' AND ti.state = 'queued' AND ti.try_id = t.id
FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id
WHERE t.reuse_key = %(key)s::text AND t.reuse_key > '' AND (t.state IN ('queued', 'running') OR NOT t.kill_confirmed)
    AND t.place IN ('', %(place)s::text)
ORDER BY 2 DESC LIMIT 2
"""


def next_try(reuse_key: str, place: str) -> HandOut:
    """The try that this place has or gets now. One that it had and that is being ended, or whose start got lost, is waited for."""
    parameters = {"key": reuse_key, "place": place}
    found = sql.rows(_LOOK, parameters)
    if not found:
        return HandOut()
    if not found[0][1]:
        with transaction.atomic():
            claims.lock_place(place)
            found = sql.rows(_LOOK, parameters)
            if found and not found[0][1]:
                found = [(handed, True, True) for (handed,) in sql.rows(claims.HAND_TO_PLACE, parameters)]
    waiting: list[UUID] = [try_id for try_id, is_mine, is_queued in found if is_mine and is_queued]
    busy = any(is_mine and not is_queued for _, is_mine, is_queued in found)
    if busy or not waiting:
        return HandOut()
    return HandOut({"try_id": str(waiting[0]), "start_token": tokens.start_token(waiting[0])})
