"""`airflow.sdk.lineage`: what hooks read and wrote, as they tell it while a task runs.

Hooks of provider packages call `get_hook_lineage_collector()`. Somebody must want to know: until a reader is made, the
collector keeps nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from trackside.airflow.parts.providers import ProvidersManager
from trackside.sdk.assets import Asset
from trackside.sdk.log import LoggingMixin

LineageContext = Any
MOST = 100
"""Entries of a kind that are kept; further ones are dropped with a warning."""


@dataclass
class AssetLineageInfo:
    """An asset that a hook used, how often, and the hook."""

    asset: Asset
    count: int
    context: LineageContext


@dataclass
class ExtraLineageInfo:
    """Anything else a hook wants to tell, a statement of SQL for example."""

    key: str
    value: Any
    count: int
    context: LineageContext


@dataclass
class HookLineage:
    """All that was collected."""

    inputs: list[AssetLineageInfo] = field(default_factory=list)
    outputs: list[AssetLineageInfo] = field(default_factory=list)
    extra: list[ExtraLineageInfo] = field(default_factory=list)


class HookLineageCollector(LoggingMixin):
    """Takes notes; the same thing told twice is counted."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._inputs: dict[str, tuple[Asset, LineageContext]] = {}
        self._outputs: dict[str, tuple[Asset, LineageContext]] = {}
        self._extra: dict[str, tuple[str, Any, LineageContext]] = {}
        self._input_counts: Counter[str] = Counter()
        self._output_counts: Counter[str] = Counter()
        self._extra_counts: Counter[str] = Counter()

    def create_asset(
        self,
        *,
        scheme: str | None = None,
        uri: str | None = None,
        name: str | None = None,
        group: str | None = None,
        asset_kwargs: dict[str, Any] | None = None,
        asset_extra: dict[str, Any] | None = None,
    ) -> Asset | None:
        """An asset by URI or name, else by what a provider package makes for that scheme; None if that cannot be done."""
        if uri or name:
            return Asset(name=name, uri=uri, group=group, extra=asset_extra)
        factory = ProvidersManager().asset_factories.get(scheme or "")
        if factory is None:
            return None
        try:
            made: Asset = factory(**(asset_kwargs or {}), extra=asset_extra)
        except Exception as error:  # code of a provider; lineage never fails a task
            self.log.debug("no asset for the scheme %s: %s", scheme, error)
            return None
        return made

    def add_input_asset(self, context: LineageContext, **about: Any) -> None:
        """The hook read this; `about` as for `create_asset`."""
        self._add(self._inputs, self._input_counts, context, about)

    def add_output_asset(self, context: LineageContext, **about: Any) -> None:
        """The hook wrote this; `about` as for `create_asset`."""
        self._add(self._outputs, self._output_counts, context, about)

    def add_extra(self, context: LineageContext, key: str, value: Any) -> None:
        """The hook tells something else."""
        if not key or not value:
            self.log.debug("an entry of lineage without key or value is left out")
            return
        entry = f"{key}_{_digest(value)}_{id(context)}"
        if self._room(self._extra, entry):
            self._extra[entry] = (key, value, context)
            self._extra_counts[entry] += 1

    @property
    def collected_assets(self) -> HookLineage:
        """All so far."""
        return HookLineage(
            [AssetLineageInfo(asset, self._input_counts[k], context) for k, (asset, context) in self._inputs.items()],
            [AssetLineageInfo(asset, self._output_counts[k], context) for k, (asset, context) in self._outputs.items()],
            [ExtraLineageInfo(key, value, self._extra_counts[k], context) for k, (key, value, context) in self._extra.items()],
        )

    @property
    def has_collected(self) -> bool:
        """Whether there is anything."""
        return bool(self._inputs or self._outputs or self._extra)

    def _add(self, kept: dict[str, Any], counts: Counter[str], context: LineageContext, about: dict[str, Any]) -> None:
        if (asset := self.create_asset(**about)) is None:
            return
        entry = f"{asset.uri}_{_digest(asset.extra)}_{id(context)}"
        if self._room(kept, entry):
            kept[entry] = (asset, context)
            counts[entry] += 1

    def _room(self, kept: dict[str, Any], entry: str) -> bool:
        if entry in kept or len(kept) < MOST:
            return True
        self.log.warning("more than %d entries of lineage in one task: the rest is left out", MOST)
        return False


class NoOpCollector(HookLineageCollector):
    """Stands in while nobody reads."""

    def add_input_asset(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    def add_output_asset(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    def add_extra(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    @property
    def collected_assets(self) -> HookLineage:
        """Nothing."""
        return HookLineage()


class HookLineageReader(LoggingMixin):
    """Making one starts the collection in this process."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        global _collector
        if isinstance(_collector, NoOpCollector):
            _collector = HookLineageCollector()
        self.lineage_collector = _collector

    def retrieve_hook_lineage(self) -> HookLineage:
        """What was collected."""
        return self.lineage_collector.collected_assets


_collector: HookLineageCollector = NoOpCollector()


def get_hook_lineage_collector() -> HookLineageCollector:
    """The collector of this process."""
    return _collector


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
