"""Which mapper applies to which asset of a consumer, and the questions about keys that follow from it.

For `apps.runs.assets.partitions` and `apps.runs.actions.creation`. The stored form is that of `PartitionedAssetTimetable`:
{"kind": "partitioned_asset", "condition", "mappers": [{"asset": condition, "mapper"}], "default_mapper"}.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Set
from datetime import datetime
from typing import Any

from trackside.core.asset_conditions import leaves
from trackside.core.partitions.mappers import PartitionMapper, RollupMapper, as_keys
from trackside.core.partitions.stored import from_spec

LONGEST_KEY = 250


class Mapping:
    """The mappers of one consumer."""

    def __init__(self, timetable: dict[str, Any]) -> None:
        self._by_name: dict[str, PartitionMapper] = {}
        self._by_uri: dict[str, PartitionMapper] = {}
        for entry in timetable.get("mappers") or ():
            mapper = from_spec(entry["mapper"])
            for word, value in leaves(entry["asset"]):
                if word in ("asset", "asset_ref"):
                    self._by_name |= {value["name"]: mapper} if value.get("name") else {}
                    self._by_uri |= {value["uri"]: mapper} if value.get("uri") else {}
        self._default: PartitionMapper = from_spec(timetable.get("default_mapper") or {"kind": "IdentityMapper"})
        self._condition = timetable.get("condition")
        parts = [timetable.get("mappers") or [], timetable.get("default_mapper")]
        self.fingerprint: str = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        """Changes when what is waited for changes; not with other edits of the file."""

    def mapper(self, name: str, uri: str) -> PartitionMapper:
        """The mapper of an asset: by its name, else by its URI, else the default."""
        return self._by_name.get(name) or self._by_uri.get(uri) or self._default

    def keys(self, name: str, uri: str, key: str, limit: int) -> list[str]:
        """The downstream keys of an upstream key. Raises whatever the mapper raises, TooManyKeys and Unreachable."""
        mapper = self.mapper(name, uri)
        found = list(dict.fromkeys(as_keys(mapper, mapper.to_downstream(key))))
        most = mapper.max_downstream_keys or limit
        if len(found) > most:
            raise TooManyKeys(len(found), most)
        for one in found:
            check_key(one)
            if isinstance(mapper, RollupMapper) and mapper.wait_policy.is_unreachable(expected := len(mapper.to_upstream(one))):
                raise Unreachable(f"{mapper.wait_policy!r} can never be satisfied: the window of {one!r} has {expected} keys")
        return found

    def carried(self, name: str, uri: str, date: datetime | None) -> datetime | None:
        """What becomes of the upstream run's partition date."""
        return self.mapper(name, uri).carry_partition_date(date)

    def has_all(self, name: str, uri: str, downstream_key: str, came: Set[str]) -> bool:
        """Whether the upstream keys that came are enough. Raises whatever the mapper raises."""
        mapper = self.mapper(name, uri)
        if not mapper.is_rollup:
            return bool(came)
        return mapper.wait_policy.enough(came, mapper.to_upstream(downstream_key))  # type: ignore[attr-defined]  # it is a rollup

    def date(self, downstream_key: str, assets: Iterable[tuple[str, str]] | None = None) -> datetime | None:
        """The moment that a downstream key stands for by the mappers of these assets (default: all), if they agree.

        Raises ValueError when a mapper cannot read the key.
        """
        found = {self.mapper(*asset).to_partition_date(downstream_key) for asset in (self._assets() if assets is None else assets)} - {None}
        return found.pop() if len(found) == 1 else None

    def is_temporal(self, downstream_key: str, assets: Iterable[tuple[str, str]]) -> bool:
        """Whether any of these assets' mappers reads a moment from the key."""
        return any(self.mapper(*asset).to_partition_date(downstream_key) is not None for asset in assets)

    def _assets(self) -> list[tuple[str, str]]:
        return [(v.get("name") or "", v.get("uri") or "") for word, v in leaves(self._condition) if word in ("asset", "asset_ref")]


class TooManyKeys(ValueError):
    """One event would lead to more runs than allowed."""

    def __init__(self, found: int, most: int) -> None:
        self.found, self.most = found, most
        super().__init__(f"{found} downstream keys, more than the {most} allowed (max_downstream_keys, TRACKSIDE_MAX_PARTITION_KEYS)")


class Unreachable(ValueError):
    """A rollup waits for more keys than its window has."""


def check_key(key: Any) -> None:
    """Raises ValueError unless `key` can be a run's partition key."""
    if not isinstance(key, str) or not key.strip():
        raise ValueError("partition_key must not be empty or whitespace-only.")
    if len(key) > LONGEST_KEY or "\x00" in key:
        raise ValueError(f"partition_key must be at most {LONGEST_KEY} characters, without U+0000; got {len(key)}.")
