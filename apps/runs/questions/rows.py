"""Questions are written in the transaction of the report that asks them. For `execution.reports`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from apps.runs import transitions, wake
from apps.runs.questions.models import HITLDetail
from apps.runs.transitions import Changed
from trackside.core.reasons import Reason

CODE = "input"


def store(changed: Sequence[Changed], deferrals: Mapping[int, Mapping[str, Any]], now: datetime) -> None:
    """Write the questions of instances that have just begun to wait (`deferrals`: instance pk → the report's deferral)."""
    if not changed:
        return
    rows = [_row(c, deferrals[c.pk], now) for c in changed]
    HITLDetail.objects.filter(try_id__in=[r.try_id for r in rows]).delete()  # the same try asks again
    HITLDetail.objects.bulk_create(rows)
    transitions.explain({r.ti_id: Reason(CODE, f"Waits for a person's answer to: {r.subject[:200]}") for r in rows}, now)
    if any(deferrals[c.pk].get("timeout_s") is not None for c in changed):
        wake.send_on_commit(wake.SCHEDULER)


def _row(c: Changed, deferral: Mapping[str, Any], now: datetime) -> HITLDetail:
    given = deferral.get("kwargs")
    asked: Mapping[str, Any] = given if isinstance(given, dict) else {}

    def is_(kind: type, name: str) -> Any:
        value = asked.get(name)
        return value if isinstance(value, kind) else None

    return HITLDetail(
        ti_id=c.pk, try_id=c.try_id, try_number=c.try_number, subject=_text(asked.get("subject")) or "", body=_text(asked.get("body")),
        options=is_(list, "options") or [], defaults=is_(list, "defaults"), multiple=bool(asked.get("multiple")),
        params=is_(dict, "params") or {}, assigned_users=is_(list, "assigned_users") or [], created_at=now,
    )  # fmt: skip


def _text(value: Any) -> str | None:
    return str(value).replace("\x00", "") if value is not None else None
