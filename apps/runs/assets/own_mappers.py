"""Partition mappers of the user's own class: asked in a child, once per event and consumer; what they say is kept as pending partitions.

For `partitions`, which writes the question into the transaction of the event (an errand, `trackside.runner.errands.mapping` answers)
and the answer when it is there; the answer of a rollup says what its run waits for, so that the server can judge alone. Mappers are
found in the timetable of the consumer's DAG, as its file has it now. Until then the event has started nothing; what goes wrong stands
in the audit trail, as with mappers that come with Trackside.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings

from apps.runs.errands import queue
from apps.runs.errands.models import Errand

KIND = "map_key"


def ask(event: int, asset: int, key: str, date: datetime | None, *, name: str, uri: str, dag_id: str, fingerprint: str) -> None:
    """Have the consumer's mapper of an asset say which keys an event is about."""
    payload = {
        "event": event, "asset": asset, "key": key, "date": date.isoformat() if date else None, "name": name, "uri": uri,
        "limit": settings.MAX_PARTITION_KEYS, "fingerprint": fingerprint,
    }  # fmt: skip
    queue.put(KIND, f"Partition mapper of asset {name}", payload, dag_id=dag_id)


def answered(errand: Errand, ok: bool, result: Any, error: str | None, now: datetime) -> None:
    """The child has answered: pending partitions, or a line in the audit trail. In the transaction that ends the errand."""
    from apps.runs.assets import partitions

    asked = errand.payload
    event = partitions.keyed(asked["event"])
    if event is None or errand.dag_id is None:
        return  # housekeeping or a person deleted it meanwhile
    if ok:
        dates = {key: datetime.fromisoformat(said["date"]) if said["date"] else None for key, said in result.items()}
        awaits = {(errand.dag_id, key): {str(event.asset): said["awaits"]} for key, said in result.items() if said["awaits"] is not None}
        partitions.pend({(errand.dag_id, key): (date, asked["fingerprint"], [event]) for key, date in dates.items()}, now, awaits)
    else:
        partitions.complain("failed to map partition_key", event, errand.dag_id, f"the mapper of asset {asked['name']}: {error}")
