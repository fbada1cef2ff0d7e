"""`airflow.providers_manager` and its twin of the task side: what installed provider packages offer, looked up lazily."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from trackside.sdk import installed
from trackside.sdk.log import LoggingMixin

F = TypeVar("F", bound=Callable[..., Any])


class ProviderInfo(NamedTuple):
    """A package: its version and what it announces."""

    version: str
    data: dict[str, Any]


class HookInfo(NamedTuple):
    """The hook for a type of connection."""

    hook_class_name: str
    connection_id_attribute_name: str
    package_name: str
    hook_name: str
    connection_type: str
    connection_testable: bool
    dialects: list[str] = []


class DialectInfo(NamedTuple):
    """A dialect of SQL."""

    name: str
    dialect_class_name: str
    provider_name: str


class PluginInfo(NamedTuple):
    """A plugin that a package brings."""

    name: str
    plugin_class: str
    provider_name: str


class _Hooks(Mapping[str, "HookInfo | None"]):
    """Type of connection → its hook; a hook that cannot be imported is None."""

    @functools.cached_property
    def _names(self) -> dict[str, tuple[str, dict[str, Any]]]:
        return {
            entry["connection-type"]: (provider.name, entry)
            for provider, entry in reversed(list(installed.announced("connection-types")))
        }

    def __getitem__(self, kind: str) -> HookInfo | None:
        package, entry = self._names[kind]
        try:
            hook = installed.load(entry["hook-class-name"])
        except (ImportError, AttributeError):
            return None
        return HookInfo(
            hook_class_name=entry["hook-class-name"],
            connection_id_attribute_name=getattr(hook, "conn_name_attr", ""),
            package_name=package,
            hook_name=str(entry.get("hook-name") or getattr(hook, "hook_name", kind)),
            connection_type=kind,
            connection_testable=hasattr(hook, "test_connection"),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)


class ProvidersManager(LoggingMixin):
    """One per process. Everything is read from the packages when it is asked for; `initialize_…` have nothing to do."""

    _instance: ProvidersManager | None = None
    resource_version = "0"

    def __new__(cls) -> ProvidersManager:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("initialize_"):
            return lambda: None
        raise AttributeError(f"ProvidersManager has no {name!r} in Trackside")

    @staticmethod
    def initialized() -> bool:
        """Always: nothing is prepared ahead."""
        return True

    @property
    def providers(self) -> dict[str, ProviderInfo]:
        """Installed packages by name."""
        return {one.name: ProviderInfo(one.version, one.info) for one in installed.providers().values()}

    @functools.cached_property
    def hooks(self) -> Mapping[str, HookInfo | None]:
        """Hooks by type of connection."""
        return _Hooks()

    @property
    def dialects(self) -> dict[str, DialectInfo]:
        """Dialects of SQL by name."""
        return {
            entry["dialect-type"]: DialectInfo(entry["dialect-type"], entry["dialect-class-name"], provider.name)
            for provider, entry in installed.announced("dialects")
        }

    @property
    def asset_uri_handlers(self) -> dict[str, Callable[..., Any]]:
        """What cleans asset URIs, by scheme."""
        return {scheme: installed.load(dotted) for scheme, dotted in installed.uri_handlers().items()}

    @property
    def asset_factories(self) -> dict[str, Callable[..., Any]]:
        """What makes assets out of parts, by scheme."""
        return _by_scheme("factory")

    @property
    def asset_to_openlineage_converters(self) -> dict[str, Callable[..., Any]]:
        """What says OpenLineage how an asset is called, by scheme."""
        return _by_scheme("to_openlineage_converter")

    @property
    def taskflow_decorators(self) -> dict[str, Callable[..., Any]]:
        """Decorators below `@task`, by name."""
        return {entry["name"]: installed.load(entry["class-name"]) for _, entry in installed.announced("task-decorators")}

    @property
    def filesystem_module_names(self) -> list[str]:
        """Modules that open object storage."""
        return sorted(entry for _, entry in installed.announced("filesystems"))

    @property
    def plugins(self) -> list[PluginInfo]:
        """Plugins that packages bring."""
        found = installed.announced("plugins")
        return [PluginInfo(entry["name"], entry["plugin-class"], provider.name) for provider, entry in found]

    @property
    def extra_links_class_names(self) -> list[str]:
        """Classes of links that packages bring."""
        return sorted({entry for _, entry in installed.announced("extra-links")})

    @property
    def notification(self) -> list[str]:
        """Classes of notifiers."""
        return sorted({entry for _, entry in installed.announced("notifications")})

    @property
    def secrets_backend_class_names(self) -> list[str]:
        """Classes of secrets back ends."""
        return sorted({entry for _, entry in installed.announced("secrets-backends")})

    @property
    def provider_configs(self) -> list[tuple[str, dict[str, Any]]]:
        """Options that packages define."""
        return [(one.name, one.info["config"]) for one in installed.providers().values() if one.info.get("config")]


ProvidersManagerTaskRuntime = ProvidersManager


def _by_scheme(what: str) -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for _, entry in installed.announced("asset-uris"):
        if dotted := entry.get(what):
            for scheme in entry.get("schemes", ()):
                found.setdefault(scheme.lower(), installed.load(dotted))
    return found


def providers_configuration_loaded(func: F) -> F:
    """The function itself: options of packages are known without loading."""
    return func
