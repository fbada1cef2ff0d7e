"""Assets: data that tasks write and read, conditions over them, aliases, and watchers (rows 1.208-1.220).

For DAG files: `Asset`, `AssetAlias`, `AssetAll`, `AssetAny`, `AssetWatcher`, `Metadata`. Definitions only: which events
happened is the server's. Next door: `asset_decorator.py` for `@asset`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from trackside.sdk.installed import load, uri_handlers
from trackside.sdk.jsonable import jsonable, plain_module

_LONGEST = 1500


class BaseAsset:
    """Something a schedule can wait for; `&` and `|` combine."""

    def __or__(self, other: Any) -> BaseAsset:
        return AssetAny(self, other) if isinstance(other, BaseAsset) else NotImplemented

    def __and__(self, other: Any) -> BaseAsset:
        return AssetAll(self, other) if isinstance(other, BaseAsset) else NotImplemented

    def __bool__(self) -> bool:
        return True

    def to_spec(self) -> dict[str, Any]:
        """JSON: {"asset": …}, {"alias": …}, {"all": […]} or {"any": […]}."""
        raise NotImplementedError

    as_expression = to_spec

    def iter_assets(self) -> Iterator[tuple[Any, Asset]]:
        """(key, asset) of all assets inside."""
        return iter(())

    def iter_asset_aliases(self) -> Iterator[tuple[str, AssetAlias]]:
        """(name, alias) of all aliases inside."""
        return iter(())

    def iter_asset_refs(self) -> Iterator[AssetRef]:
        """All references inside."""
        return iter(())


class AssetUniqueKey(tuple[str, str]):
    """(name, uri) of an asset."""

    def __new__(cls, name: str, uri: str) -> AssetUniqueKey:
        return super().__new__(cls, (name, uri))

    @property
    def name(self) -> str:
        return self[0]

    @property
    def uri(self) -> str:
        return self[1]

    @classmethod
    def from_asset(cls, asset: Asset) -> AssetUniqueKey:
        """The key of that asset."""
        return cls(asset.name, asset.uri)


class Asset(BaseAsset):
    """One piece of data, known by name and URI; each stands in for the other when only one is given."""

    __version__: ClassVar[int] = 1
    asset_type: ClassVar[str] = "asset"

    def __init__(
        self,
        name: str | None = None,
        uri: Any = None,
        *,
        group: str | None = None,
        extra: dict[str, Any] | None = None,
        watchers: Iterable[AssetWatcher] | None = None,
        access_control: Any = None,
    ) -> None:
        if name is None and uri is None:
            raise TypeError("Asset() requires either 'name' or 'uri'")
        uri = str(uri) if uri is not None else None
        self.name: str = _checked_text("name", name if name is not None else uri)
        self.uri: str = clean_uri(_checked_text("uri", uri if uri is not None else name))
        if self.name in ("self", "context"):
            raise ValueError(f"Asset name {self.name!r} is prohibited: it means something else in functions")
        self.group: str = group if group else self.asset_type
        self.extra: dict[str, Any] = _checked_extra(extra)
        self.watchers = list(watchers or ())
        self.access_control = access_control

    @staticmethod
    def ref(*, name: str | None = None, uri: str | None = None) -> AssetRef:
        """An asset defined elsewhere, by name or by URI."""
        if (name is None) == (uri is None):
            raise TypeError("Asset reference must be made with either 'name' or 'uri', not both")
        return AssetNameRef(name) if name is not None else AssetUriRef(str(uri))

    @property
    def normalized_uri(self) -> str | None:
        """The URI in its canonical form."""
        return self.uri

    def to_spec(self) -> dict[str, Any]:
        return {"asset": {"uri": self.uri, "name": self.name, "group": self.group}}

    as_expression = to_spec

    def to_definition(self) -> dict[str, Any]:
        """Everything about it, for inlets and outlets."""
        data: dict[str, Any] = {"type": "asset", "name": self.name, "uri": self.uri, "group": self.group}
        data["extra"] = jsonable(self.extra)
        if self.watchers:
            data["watchers"] = [watcher.to_spec() for watcher in self.watchers]
        if self.access_control is not None:
            data["access_control"] = self.access_control.to_spec()
        return data

    def iter_assets(self) -> Iterator[tuple[Any, Asset]]:
        yield AssetUniqueKey.from_asset(self), self

    def __fspath__(self) -> str:
        return self.uri

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asset) and (self.name, self.uri) == (other.name, other.uri)

    def __hash__(self) -> int:
        return hash((self.name, self.uri))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, uri={self.uri!r})"


class Dataset(Asset):
    """An asset that is a data set."""

    asset_type: ClassVar[str] = "dataset"


class Model(Asset):
    """An asset that is a model."""

    asset_type: ClassVar[str] = "model"


class AssetRef(BaseAsset):
    """An asset defined elsewhere."""

    field: ClassVar[str] = ""

    def __init__(self, value: str) -> None:
        setattr(self, self.field, value)

    @property
    def value(self) -> str:
        return str(getattr(self, self.field))

    def to_spec(self) -> dict[str, Any]:
        return {"asset_ref": {self.field: self.value}}

    as_expression = to_spec

    def to_definition(self) -> dict[str, Any]:
        """For inlets and outlets."""
        return {"type": "asset_ref", self.field: self.value}

    def iter_asset_refs(self) -> Iterator[AssetRef]:
        yield self

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.value == other.value  # type: ignore[attr-defined]  # same type

    def __hash__(self) -> int:
        return hash((self.field, self.value))

    def __repr__(self) -> str:
        return f"Asset.ref({self.field}={self.value!r})"


class AssetNameRef(AssetRef):
    """An asset of that name."""

    field = "name"
    name: str


class AssetUriRef(AssetRef):
    """An asset of that URI."""

    field = "uri"
    uri: str


class AssetAlias(BaseAsset):
    """A name under which a task says at run time which assets it wrote."""

    def __init__(self, name: str, *, group: str = "asset") -> None:
        self.name = _checked_text("name", name)
        self.group = group

    def to_spec(self) -> dict[str, Any]:
        return {"alias": {"name": self.name, "group": self.group}}

    as_expression = to_spec

    def to_definition(self) -> dict[str, Any]:
        """For inlets and outlets."""
        return {"type": "alias", "name": self.name, "group": self.group}

    def iter_asset_aliases(self) -> Iterator[tuple[str, AssetAlias]]:
        yield self.name, self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AssetAlias) and self.name == other.name

    def __hash__(self) -> int:
        return hash(("alias", self.name))

    def __repr__(self) -> str:
        return f"AssetAlias({self.name!r})"


class _Condition(BaseAsset):
    word: ClassVar[str] = ""

    def __init__(self, *objects: Any) -> None:
        self.objects: list[BaseAsset] = []
        for item in objects:
            if not isinstance(item, BaseAsset):
                raise TypeError(f"expect asset expressions in condition, not {type(item).__name__}: {item!r}")
            if type(item) is type(self):  # (a & b) & c is one condition over three
                self.objects.extend(item.objects)
            else:
                self.objects.append(item)

    def to_spec(self) -> dict[str, Any]:
        return {self.word: [item.to_spec() for item in self.objects]}

    as_expression = to_spec

    def iter_assets(self) -> Iterator[tuple[Any, Asset]]:
        seen = set()
        for item in self.objects:
            for key, asset in item.iter_assets():
                if key not in seen:
                    seen.add(key)
                    yield key, asset

    def iter_asset_aliases(self) -> Iterator[tuple[str, AssetAlias]]:
        for item in self.objects:
            yield from item.iter_asset_aliases()

    def iter_asset_refs(self) -> Iterator[AssetRef]:
        for item in self.objects:
            yield from item.iter_asset_refs()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.objects == other.objects  # type: ignore[attr-defined]  # same type

    def __hash__(self) -> int:
        return hash((self.word, tuple(self.objects)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.objects))})"


class AssetAll(_Condition):
    """All of them have news."""

    word = "all"


class AssetAny(_Condition):
    """At least one of them has news."""

    word = "any"


class AssetWatcher:
    """An event trigger whose events become events of the asset (row 1.218)."""

    def __init__(self, name: str, trigger: Any) -> None:
        from trackside.sdk.triggers import BaseEventTrigger, BaseTrigger

        if not isinstance(trigger, BaseEventTrigger):
            kind = "only a BaseTrigger" if isinstance(trigger, BaseTrigger) else f"a {type(trigger).__name__}"
            raise ValueError(f"AssetWatcher: trigger must be a BaseEventTrigger, this is {kind}")
        self.name = name
        self.trigger = trigger

    def to_spec(self) -> dict[str, Any]:
        """Name, class path and arguments of the trigger."""
        from trackside.sdk import serde

        classpath, kwargs = self.trigger.serialize()
        return {"name": self.name, "classpath": plain_module(classpath), "kwargs": serde.serialize(kwargs)}


class AssetAccessControl:
    """Which teams may produce and consume an asset (row 1.219)."""

    def __init__(
        self, producer_teams: Iterable[str] = (), consumer_teams: Iterable[str] = (), allow_global: bool = True
    ) -> None:
        self.producer_teams, self.consumer_teams = list(producer_teams), list(consumer_teams)
        self.allow_global = allow_global

    def to_spec(self) -> dict[str, Any]:
        """As JSON."""
        return dict(vars(self))


class Metadata:
    """`yield Metadata(asset, extra)`: what a task has to say about the event of an outlet (row 1.092)."""

    def __init__(self, asset: Asset | AssetAlias, extra: dict[str, Any] | None = None, alias: Any = None) -> None:
        self.asset = asset
        self.extra = dict(extra or {})
        self.alias = AssetAlias(alias) if isinstance(alias, str) else alias


def as_condition(assets: Any) -> BaseAsset:
    """One expression as it is, a collection as "all of them". Raises TypeError for anything else."""
    if isinstance(assets, BaseAsset):
        return assets
    if isinstance(assets, Iterable) and not isinstance(assets, str):
        return AssetAll(*assets)
    raise TypeError(f"assets must be an asset, an expression of assets or a list, not {type(assets).__name__}")


def definition(thing: Any) -> dict[str, Any]:
    """An inlet or outlet as JSON; what is no asset is kept by its text."""
    return thing.to_definition() if hasattr(thing, "to_definition") else {"type": "other", "value": jsonable(thing)}


def clean_uri(uri: str) -> str:
    """The canonical form of a URI: no password, sorted query, no fragment. Plain names stay as they are (row 1.208)."""
    if not uri.isascii():
        raise ValueError(f"asset uri {uri!r} must only consist of ASCII characters; percent-encode the others: {quote(uri)}")
    parts = urlsplit(uri)
    if not parts.scheme:
        return uri
    if parts.scheme == "airflow":
        raise ValueError(f"asset uri {uri!r}: the scheme 'airflow' is reserved")
    netloc = parts.netloc
    if "@" in netloc:
        login, _, host = netloc.rpartition("@")
        user = login.partition(":")[0]
        netloc = f"{user}@{host}" if user else host
    query = urlencode(sorted(parse_qsl(parts.query, keep_blank_values=True)))
    if not netloc and not uri.startswith(f"{parts.scheme}://"):
        return uri
    path = parts.path.rstrip("/") or parts.path
    if (handler := uri_handlers().get(parts.scheme)) is not None and parts.scheme != "file":
        return urlunsplit(load(handler)(SplitResult(parts.scheme, netloc, path, query, "")))  # type: ignore[no-any-return]  # provider
    cleaned = urlunsplit((parts.scheme, netloc, path, query, ""))
    return cleaned if "://" in cleaned else cleaned.replace(":", "://", 1)


def _checked_text(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"Asset {what} must be a string, not {type(value).__name__}")
    if not value or value.isspace():
        raise ValueError(f"Asset {what} cannot be empty")
    if len(value) > _LONGEST:
        raise ValueError(f"Asset {what} cannot exceed {_LONGEST} characters")
    return value


def _checked_extra(extra: Any) -> dict[str, Any]:
    if extra is None:
        return {}
    if not isinstance(extra, dict) or any(not isinstance(key, str) for key in extra):
        raise ValueError(f"Asset extra must be a dict with text keys, not {extra!r}")
    return dict(extra)
