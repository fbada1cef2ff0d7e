"""The errand `map_key`: a partition mapper of the user's says which keys an event is about. For `jobs`.

A rollup says as well for which upstream keys the run of each key waits, and how many of them are enough: with these two facts the
server judges every later event without the user's code (`apps.runs.assets.partitions`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from trackside.core.asset_conditions import leaves
from trackside.core.partitions import PartitionMapper, check_key
from trackside.core.partitions.mappers import as_keys
from trackside.core.partitions.timetable import TooManyKeys
from trackside.runner.errands.parts import Undoable

MOST_AWAITED = 50_000
"""Upstream keys that the runs of one event may wait for together: they are kept with the pending runs."""


def mapped(job: dict[str, Any], dag: Any) -> dict[str, dict[str, Any]]:
    """Downstream key → {"date": the moment it stands for (ISO), or the source's if the mapper carries it, "awaits": of a rollup}.

    Raises Undoable.
    """
    mapper = mapper_of(dag.timetable, job["name"], job["uri"])
    try:
        found = list(dict.fromkeys(as_keys(mapper, mapper.to_downstream(job["key"]))))
        most = mapper.max_downstream_keys or int(job["limit"])
        if len(found) > most:
            raise TooManyKeys(len(found), most)
        for key in found:
            check_key(key)
        source = datetime.fromisoformat(job["date"]) if job.get("date") else None
        said: dict[str, dict[str, Any]] = {
            key: {"date": _date(mapper, key, source), "awaits": _awaits(mapper, key) if mapper.is_rollup else None} for key in found
        }
    except ValueError as error:
        raise Undoable(f"{type(mapper).__name__} does not take the key {job['key']!r}: {error}") from error
    awaited = sum(len(fact["awaits"]["keys"]) for fact in said.values() if fact["awaits"])
    if awaited > MOST_AWAITED:
        raise Undoable(f"its runs would wait for {awaited} upstream keys, more than {MOST_AWAITED}: take a smaller window.")
    return said


def _date(mapper: PartitionMapper, key: str, source: datetime | None) -> str | None:
    """ISO, in UTC unless the mapper names a zone."""
    date = mapper.to_partition_date(key) or mapper.carry_partition_date(source)
    if date is not None and not isinstance(date, datetime):
        raise TypeError(f"{type(mapper).__name__}.to_partition_date must return a datetime or None, not {type(date).__name__}")
    return None if date is None else (date.replace(tzinfo=UTC) if date.tzinfo is None else date).isoformat()


def _awaits(rollup: Any, key: str) -> dict[str, Any]:
    """The upstream keys that the run of `key` waits for, and how many of them are enough."""
    expected = sorted(as_keys(rollup, rollup.to_upstream(key)))
    least = rollup.wait_policy.least(len(expected))
    if least is None:
        raise Undoable(f"{rollup.wait_policy!r} can never be satisfied: the window of {key!r} has {len(expected)} keys.")
    return {"keys": expected, "least": least}


def mapper_of(timetable: Any, name: str, uri: str) -> PartitionMapper:
    """The mapper of an asset: by its name, else by its URI, else the default (as `core.partitions.timetable.Mapping`)."""
    by_uri: PartitionMapper | None = None
    for asset, mapper in getattr(timetable, "partition_mapper_config", {}).items():
        for word, value in leaves(asset.to_spec()):
            if word in ("asset", "asset_ref"):
                if value.get("name") and value["name"] == name:
                    return mapper  # type: ignore[no-any-return]  # of an object the user made
                if value.get("uri") and value["uri"] == uri:
                    by_uri = mapper
    found = by_uri or getattr(timetable, "default_partition_mapper", None)
    if found is None:
        raise Undoable("its DAG has no PartitionedAssetTimetable any more")
    return found
