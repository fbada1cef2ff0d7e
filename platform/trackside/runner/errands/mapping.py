"""The errand `map_key`: a partition mapper of the user's says which keys an event is about. For `jobs`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from trackside.core.asset_conditions import leaves
from trackside.core.partitions import PartitionMapper, check_key
from trackside.core.partitions.mappers import as_keys
from trackside.core.partitions.timetable import TooManyKeys
from trackside.runner.errands.parts import Undoable


def mapped(job: dict[str, Any], dag: Any) -> dict[str, str | None]:
    """Downstream key → the moment it stands for (ISO), or the source's moment if the mapper carries it. Raises Undoable."""
    mapper = mapper_of(dag.timetable, job["name"], job["uri"])
    if mapper.is_rollup:
        raise Undoable("a RollupMapper of own mappers or windows cannot be waited for: use those that come with Trackside in it.")
    try:
        found = list(dict.fromkeys(as_keys(mapper, mapper.to_downstream(job["key"]))))
        most = mapper.max_downstream_keys or int(job["limit"])
        if len(found) > most:
            raise TooManyKeys(len(found), most)
        for key in found:
            check_key(key)
        source = datetime.fromisoformat(job["date"]) if job.get("date") else None
        dates = {key: mapper.to_partition_date(key) or mapper.carry_partition_date(source) for key in found}
    except ValueError as error:
        raise Undoable(f"{type(mapper).__name__} does not take the key {job['key']!r}: {error}") from error
    return {key: date.isoformat() if date is not None else None for key, date in dates.items()}


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
