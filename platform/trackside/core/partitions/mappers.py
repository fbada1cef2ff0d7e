"""Mappers of partition keys: from the key of an upstream event to the keys of the runs that it is part of.

For the server (`apps.runs.assets.partitions`) and DAG files. Next door: `temporal` for keys that are moments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from trackside.core.partitions.record import Record, stored
from trackside.core.partitions.waiting import WaitForAll, WaitPolicy
from trackside.core.partitions.windows import Window


class PartitionMapper(Record, ABC):
    """One upstream key to one or several downstream keys.

    A mapper that a `RollupMapper` builds on also goes back: `decode_downstream` reads a downstream key, `encode_upstream` writes an
    upstream key. Both or neither are overridden. `max_downstream_keys`: most keys one event may lead to (None: the site's limit).
    """

    is_rollup: ClassVar[bool] = False
    expected_decoded_type: ClassVar[type] = str
    max_downstream_keys: int | None = None

    def __init__(self, *, max_downstream_keys: int | None = None) -> None:
        if max_downstream_keys is not None and (not isinstance(max_downstream_keys, int) or max_downstream_keys < 1):
            raise ValueError(f"max_downstream_keys must be a positive integer or None, got {max_downstream_keys!r}")
        self.max_downstream_keys = max_downstream_keys

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        reads = cls.decode_downstream is not PartitionMapper.decode_downstream
        writes = cls.encode_upstream is not PartitionMapper.encode_upstream
        if reads != writes:
            raise TypeError(f"{cls.__qualname__} must override both of decode_downstream and encode_upstream, or neither: inverses.")

    @abstractmethod
    def to_downstream(self, key: str) -> str | Iterable[str]:
        """The downstream key or keys. Raises for a key that cannot be mapped."""

    def decode_downstream(self, downstream_key: str) -> Any:
        """What a downstream key stands for."""
        return downstream_key

    def encode_upstream(self, decoded: Any) -> str:
        """The upstream key of a member of a window."""
        return decoded  # type: ignore[no-any-return]  # text, as declared by expected_decoded_type

    def to_partition_date(self, downstream_key: str) -> datetime | None:
        """The moment a downstream key stands for, if it stands for one."""
        return None

    def carry_partition_date(self, source_partition_date: datetime | None) -> datetime | None:
        """What becomes of the upstream run's partition date when the key does not say one."""
        return None

    def arguments(self) -> dict[str, Any]:
        return {} if self.max_downstream_keys is None else {"max_downstream_keys": self.max_downstream_keys}

    def serialize(self) -> dict[str, Any]:
        return PartitionMapper.arguments(self)


@stored
class IdentityMapper(PartitionMapper):
    """The same key."""

    def to_downstream(self, key: str) -> str:
        return key

    def carry_partition_date(self, source_partition_date: datetime | None) -> datetime | None:
        return source_partition_date


@stored
class AllowedKeyMapper(PartitionMapper):
    """The same key, if it is one of the listed; others are refused."""

    positional = ("allowed_keys",)

    def __init__(self, allowed_keys: list[str], *, max_downstream_keys: int | None = None) -> None:
        super().__init__(max_downstream_keys=max_downstream_keys)
        self.allowed_keys = list(allowed_keys)

    def to_downstream(self, key: str) -> str:
        if key not in self.allowed_keys:
            raise ValueError(f"Key {key!r} not in allowed keys {self.allowed_keys}")
        return key

    def arguments(self) -> dict[str, Any]:
        return {"allowed_keys": self.allowed_keys, **super().arguments()}


@stored
class FixedKeyMapper(PartitionMapper):
    """Always one key."""

    positional = ("downstream_key",)

    def __init__(self, downstream_key: str, *, max_downstream_keys: int | None = None) -> None:
        if not downstream_key or not isinstance(downstream_key, str):
            raise ValueError(f"FixedKeyMapper downstream_key must be a non-empty str; got {downstream_key!r}.")
        super().__init__(max_downstream_keys=max_downstream_keys)
        self.downstream_key = downstream_key

    def to_downstream(self, key: str) -> str:
        return self.downstream_key

    def arguments(self) -> dict[str, Any]:
        return {"downstream_key": self.downstream_key, **super().arguments()}


class _Several(PartitionMapper):
    """Two mappers or more."""

    positional = ("mappers",)

    def __init__(
        self, mapper0: PartitionMapper, mapper1: PartitionMapper, /, *mappers: PartitionMapper, max_downstream_keys: int | None = None
    ) -> None:
        super().__init__(max_downstream_keys=max_downstream_keys)
        self.mappers = [mapper0, mapper1, *mappers]

    def arguments(self) -> dict[str, Any]:
        return {"mappers": self.mappers, **super().arguments()}


@stored
class ChainMapper(_Several):
    """One mapper after the other, each on all keys of the one before."""

    def to_downstream(self, key: str) -> str | Iterable[str]:
        keys = [key]
        for mapper in self.mappers:
            keys = [found for one in keys for found in as_keys(mapper, mapper.to_downstream(one))]
        return keys[0] if len(keys) == 1 else keys

    def to_partition_date(self, downstream_key: str) -> datetime | None:
        return self.mappers[-1].to_partition_date(downstream_key)


@stored
class ProductMapper(_Several):
    """One mapper per segment of the key."""

    def __init__(
        self, mapper0: PartitionMapper, mapper1: PartitionMapper, /, *mappers: PartitionMapper,
        delimiter: str = "|", max_downstream_keys: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(mapper0, mapper1, *mappers, max_downstream_keys=max_downstream_keys)
        self.delimiter = delimiter

    def to_downstream(self, key: str) -> str:
        segments = key.split(self.delimiter)
        if len(segments) != len(self.mappers):
            raise ValueError(f"Expected {len(self.mappers)} segments in key, got {len(segments)}")
        mapped = [mapper.to_downstream(segment) for mapper, segment in zip(self.mappers, segments, strict=True)]
        for mapper, found in zip(self.mappers, mapped, strict=True):
            if not isinstance(found, str):
                raise TypeError(f"ProductMapper: {type(mapper).__name__} returned several keys for a segment; it must return one")
        return self.delimiter.join(mapped)  # type: ignore[arg-type]  # checked above

    def to_partition_date(self, downstream_key: str) -> datetime | None:
        segments = downstream_key.split(self.delimiter)
        if len(segments) != len(self.mappers):
            return None
        dates = [m.to_partition_date(segment) for m, segment in zip(self.mappers, segments, strict=True)]
        known = [date for date in dates if date is not None]
        return known[0] if len(known) == 1 else None

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), **({"delimiter": self.delimiter} if self.delimiter != "|" else {})}


@stored
class RollupMapper(PartitionMapper):
    """Many upstream keys to one: the run waits for the keys of the window, as the wait policy says."""

    is_rollup = True

    def __init__(
        self, *, upstream_mapper: PartitionMapper, window: Window,
        wait_policy: WaitPolicy | None = None, max_downstream_keys: int | None = None,
    ) -> None:  # fmt: skip
        if upstream_mapper.expected_decoded_type is not window.expected_decoded_type:
            raise TypeError(
                f"{type(window).__name__} is a window of {window.expected_decoded_type.__name__!r}, but {type(upstream_mapper).__name__} "
                f"reads keys as {upstream_mapper.expected_decoded_type.__name__!r}: take a window and a mapper that fit."
            )
        super().__init__(max_downstream_keys=max_downstream_keys)
        self.upstream_mapper, self.window, self.wait_policy = upstream_mapper, window, wait_policy or WaitForAll()

    def to_downstream(self, key: str) -> str | Iterable[str]:
        return self.upstream_mapper.to_downstream(key)

    def to_upstream(self, downstream_key: str) -> frozenset[str]:
        """The upstream keys that a run of this key waits for."""
        decoded = self.upstream_mapper.decode_downstream(downstream_key)
        return frozenset(self.upstream_mapper.encode_upstream(member) for member in self.window.to_upstream(decoded))

    def to_partition_date(self, downstream_key: str) -> datetime | None:
        return self.upstream_mapper.to_partition_date(downstream_key)

    def arguments(self) -> dict[str, Any]:
        policy = {} if isinstance(self.wait_policy, WaitForAll) else {"wait_policy": self.wait_policy}
        return {"upstream_mapper": self.upstream_mapper, "window": self.window, **policy, **super().arguments()}


@stored
class FanOutMapper(PartitionMapper):
    """One upstream key to all keys of a window, a run each."""

    default_downstream_mapper_by_window_name: ClassVar[dict[str, str]] = {
        "DayWindow": "StartOfHourMapper",
        "WeekWindow": "StartOfDayMapper",
        "MonthWindow": "StartOfDayMapper",
        "QuarterWindow": "StartOfMonthMapper",
        "YearWindow": "StartOfMonthMapper",
    }

    def __init__(
        self, *, upstream_mapper: PartitionMapper, window: Window,
        downstream_mapper: PartitionMapper | None = None, max_downstream_keys: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(max_downstream_keys=max_downstream_keys)
        self.upstream_mapper, self.window = upstream_mapper, window
        self.downstream_mapper = downstream_mapper or self._default_for(window)

    @classmethod
    def _default_for(cls, window: Window) -> PartitionMapper:
        from trackside.core.partitions.record import KINDS

        name = cls.default_downstream_mapper_by_window_name.get(type(window).__name__)
        if name is None:
            raise ValueError(f"FanOutMapper: there is no default downstream_mapper for a {type(window).__name__}; pass downstream_mapper.")
        found: PartitionMapper = KINDS[name]()
        return found

    def to_downstream(self, key: str) -> Iterable[str]:
        coarse = self.upstream_mapper.to_downstream(key)
        if not isinstance(coarse, str):
            raise TypeError("FanOutMapper: upstream_mapper must return one key; a fan-out of a fan-out is not supported.")
        members = self.window.to_upstream(self.upstream_mapper.decode_downstream(coarse))
        return [_format(self.downstream_mapper, member) for member in members]

    def to_partition_date(self, downstream_key: str) -> datetime | None:
        return self.downstream_mapper.to_partition_date(downstream_key)

    def arguments(self) -> dict[str, Any]:
        named = {"upstream_mapper": self.upstream_mapper, "window": self.window, "downstream_mapper": self.downstream_mapper}
        return {**named, **super().arguments()}


def _format(mapper: PartitionMapper, member: Any) -> str:
    if callable(write := getattr(mapper, "format", None)):
        return str(write(member))
    return member.isoformat() if isinstance(member, datetime) else str(member)


def as_keys(mapper: PartitionMapper, found: Any) -> list[str]:
    """What `to_downstream` answered, as a list. Raises TypeError unless it is text."""
    keys = [found] if isinstance(found, str) else list(found) if isinstance(found, Iterable) else [found]
    for key in keys:
        if not isinstance(key, str):
            raise TypeError(f"{type(mapper).__name__}.to_downstream must return text or several texts, not {type(key).__name__}")
    return keys
