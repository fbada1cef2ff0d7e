"""Asset events around a try: what triggered the run, what inlets saw, what the task says about its outlets.

For `context.py` (`inlet_events`, `outlet_events`, `triggering_asset_events`) and `results.py`, which puts the outlets'
events into the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trackside.sdk.exceptions import AirflowNotFoundException
from trackside.sdk.execution.comms import Comms, call


class Facts(dict[str, Any]):
    """An object off the wire; its keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            value = self[name]
        except KeyError:
            raise AttributeError(name) from None
        if isinstance(value, list):
            return [Facts(item) if isinstance(item, dict) else item for item in value]
        return value


class AssetEvent(Facts):
    """One event: `event.asset.name`, `event.timestamp` (a datetime), `event.extra`, `event.source_aliases[0].name`, and who wrote it."""

    @property
    def asset(self) -> Facts:
        """The asset: name, uri, group, extra."""
        return Facts(self["asset"])

    @property
    def timestamp(self) -> datetime:
        """When it was written."""
        return datetime.fromisoformat(self["timestamp"])

    @property
    def source_dag_run(self) -> Facts | None:
        """dag_id and run_id of the run that wrote it; None for an event by REST or of a watcher."""
        dag_id, run_id = self.get("source_dag_id"), self.get("source_run_id")
        return Facts(dag_id=dag_id, run_id=run_id) if dag_id and run_id else None

    @property
    def source_task_instance(self) -> SourceTaskInstance | None:
        """The task instance that wrote it, with `xcom_pull`; None for an event by REST or of a watcher."""
        run, task_id = self.source_dag_run, self.get("source_task_id")
        return SourceTaskInstance(**run, task_id=task_id, map_index=self.get("source_map_index", -1)) if run and task_id else None


@dataclass(frozen=True)
class SourceTaskInstance:
    """The task instance that wrote an event."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    def xcom_pull(self, *, key: str = "return_value", default: Any = None) -> Any:
        """What it left under `key`; `default` if there is none."""
        from trackside.sdk.execution.xcom import BaseXCom

        found = BaseXCom.get_one(key=key, dag_id=self.dag_id, run_id=self.run_id, task_id=self.task_id, map_index=self.map_index)
        return default if found is None else found


def identity(thing: Any) -> tuple[str, str, str]:
    """(kind, name, uri) of an asset, an alias, or a reference to one; text is taken for an asset's name or URI."""
    if isinstance(thing, str):
        return ("uri", "", thing) if "://" in thing else ("asset", thing, "")
    kind = "alias" if type(thing).__name__.endswith("Alias") else "asset"
    return kind, getattr(thing, "name", None) or "", getattr(thing, "uri", None) or ""


def _same(one: tuple[str, str, str], two: tuple[str, str, str]) -> bool:
    if (one[0] == "alias") != (two[0] == "alias"):
        return False
    return bool((one[1] and one[1] == two[1]) or (one[2] and one[2] == two[2]))


class TriggeringEvents(Mapping[Any, list[AssetEvent]]):
    """Events that triggered the run, by asset (or its name or URI) and by the aliases that they were written through (row 1.214)."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self._events: dict[tuple[str, str, str], list[AssetEvent]] = {}
        for event in events:
            asset = event.get("asset") or {}
            name = asset.get("name") or event.get("name") or event.get("asset_name") or ""
            uri = asset.get("uri") or event.get("uri") or event.get("asset_uri") or ""
            self._events.setdefault(("asset", name, uri), []).append(AssetEvent(event))
            for alias in event.get("source_aliases") or ():
                self._events.setdefault(("alias", alias["name"], ""), []).append(AssetEvent(event))

    def __getitem__(self, key: Any) -> list[AssetEvent]:
        wanted = identity(key)
        for found, events in self._events.items():
            if _same(wanted, found):
                return events
        raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        from trackside.sdk.assets import Asset, AssetAlias

        return iter([AssetAlias(name) if kind == "alias" else Asset(name=name or uri, uri=uri or None) for kind, name, uri in self._events])

    def __len__(self) -> int:
        return len(self._events)

    def for_asset(self, *, name: str | None = None, uri: str | None = None) -> list[AssetEvent]:
        """Events of the asset of that name or URI. Raises KeyError if none of them triggered the run."""
        return self[name or uri]

    def for_asset_alias(self, name: str) -> list[AssetEvent]:
        """Events that were written through the alias of that name. Raises KeyError if none of them triggered the run."""
        from trackside.sdk.assets import AssetAlias

        return self[AssetAlias(name)]


class InletHistory(Sequence[AssetEvent]):
    """Past events of one inlet, asked for when they are read. `after`, `before`, `ascending` and `limit` narrow it (row 1.213)."""

    def __init__(self, comms: Comms, named: dict[str, Any]) -> None:
        self._comms, self._asked = comms, named
        self._events: list[AssetEvent] | None = None

    def _also(self, **asked: Any) -> InletHistory:
        self._asked, self._events = {**self._asked, **asked}, None
        return self

    def after(self, after: Any) -> InletHistory:
        """Not older than this moment (text or datetime)."""
        return self._also(after=_moment(after))

    def before(self, before: Any) -> InletHistory:
        """Not newer than this moment."""
        return self._also(before=_moment(before))

    def ascending(self, ascending: bool = True) -> InletHistory:
        """Oldest first (the default), or newest first."""
        return self._also(ascending="true" if ascending else "false")

    def limit(self, limit: int) -> InletHistory:
        """At most so many, the first ones of the order."""
        return self._also(limit=limit)

    def _found(self) -> list[AssetEvent]:
        if self._events is None:
            try:
                answer = call(self._comms, "GET", "/asset-events", params=self._asked)
            except AirflowNotFoundException:
                answer = {}
            self._events = [AssetEvent(event) for event in answer.get("asset_events", ())]
        return self._events

    def __getitem__(self, key: Any) -> Any:
        return self._found()[key]

    def __len__(self) -> int:
        return len(self._found())

    def __eq__(self, other: object) -> bool:
        return list(self) == (list(other) if isinstance(other, Sequence) else other)

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        return repr(self._found())


def _moment(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


class InletEvents:
    """Past events of the task's inlets: `inlet_events[asset]`, newest last. Asked for when read."""

    def __init__(self, inlets: list[Any], comms: Comms) -> None:
        self._inlets, self._comms = inlets, comms

    def __len__(self) -> int:
        return len(self._inlets)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._inlets)

    def __getitem__(self, key: Any) -> InletHistory:
        target = self._inlets[key] if isinstance(key, int) else key
        kind, name, uri = identity(target)
        return InletHistory(self._comms, {"alias": name} if kind == "alias" else {"name": name or None, "uri": uri or None})

    def for_asset(self, *, name: str | None = None, uri: str | None = None) -> InletHistory:
        """Events of the asset of that name or URI."""
        return InletHistory(self._comms, {"name": name, "uri": uri})

    def for_asset_alias(self, name: str) -> InletHistory:
        """Events of the alias of that name."""
        return InletHistory(self._comms, {"alias": name})


class OutletEvent:
    """What the task says about one outlet: `extra`, and for an alias the assets it stands for this time (`add`)."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.extra: dict[str, Any] = {}
        self.asset_alias_events: list[dict[str, Any]] = []
        self.partition_keys: list[str] = []

    def add(self, asset: Any, extra: dict[str, Any] | None = None) -> None:
        """Emit an event of `asset` through this alias."""
        kind, name, _ = identity(self.key)
        if kind != "alias":
            return
        _, asset_name, asset_uri = identity(asset)
        self.asset_alias_events.append(
            {
                "alias": name,
                "name": asset_name or asset_uri,
                "uri": asset_uri or asset_name,
                "group": getattr(asset, "group", None) or "asset",
                "asset_extra": dict(getattr(asset, "extra", None) or {}),
                "extra": extra if extra is not None else dict(self.extra),
            }
        )

    def add_partitions(self, keys: str | Iterable[str]) -> None:
        """Name the partition or partitions that were written: an event each. TypeError for an alias, ValueError for a bad key."""
        if identity(self.key)[0] == "alias":
            raise TypeError("add_partitions() is not supported on an asset alias: name the partitions of a concrete asset.")
        from trackside.core.partitions import check_key

        wanted = [keys] if isinstance(keys, str) else list(keys)
        for key in wanted:
            check_key(key)
        self.partition_keys.extend(key for key in dict.fromkeys(wanted) if key not in self.partition_keys)


class OutletEvents(Mapping[Any, OutletEvent]):
    """`outlet_events[asset]`: made when first named."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, str, str], OutletEvent] = {}

    def __getitem__(self, key: Any) -> OutletEvent:
        wanted = identity(key)
        for found, event in self._events.items():
            if _same(wanted, found):
                return event
        return self._events.setdefault(wanted, OutletEvent(key))

    def __iter__(self) -> Iterator[Any]:
        return iter([event.key for event in self._events.values()])

    def __len__(self) -> int:
        return len(self._events)

    def for_asset(self, *, name: str | None = None, uri: str | None = None) -> OutletEvent:
        """The event of the asset of that name or URI."""
        return self[name or uri]

    def for_asset_alias(self, name: str) -> OutletEvent:
        """The event of the alias of that name."""
        from trackside.sdk.assets import AssetAlias

        return self[AssetAlias(name)]


def outlet_report(outlets: list[Any], events: OutletEvents) -> list[dict[str, Any]]:
    """The report's `asset_events`: one per asset outlet, and one per asset emitted through an alias."""
    report: list[dict[str, Any]] = []
    for outlet in outlets:
        kind, name, uri = identity(outlet)
        event = events[outlet]
        if kind == "alias":
            report.extend(event.asset_alias_events)
        elif name or uri:
            entry: dict[str, Any] = {"name": name or None, "uri": uri or None, "extra": event.extra}
            if event.partition_keys:
                entry["partition_keys"] = event.partition_keys
            report.append(entry)
    return report
