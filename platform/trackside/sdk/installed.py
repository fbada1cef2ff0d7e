"""Provider packages that are installed beside Trackside, and what each announces about itself.

For hooks by connection type, `@task.…` decorators, asset URIs and defaults of options. Reading it runs a little code of each
package (its `get_provider_info`), so only parse, task and trigger processes and short-lived children do.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from trackside.sdk.plugins import entries

if TYPE_CHECKING:
    from importlib.metadata import Distribution

GROUP = "apache_airflow_provider"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Provider:
    """One package. `info`: what its `get_provider_info` says, in the shape Airflow defines for it."""

    name: str
    version: str
    info: dict[str, Any]


@cache
def providers() -> dict[str, Provider]:
    """All packages by name, sorted. One that cannot say what it has is left out, and the log tells why."""
    found: dict[str, Provider] = {}
    if not entries.mentioned(GROUP):
        return found
    from importlib.metadata import distributions

    for dist in distributions():
        for point in dist.entry_points:
            if point.group != GROUP or (name := dist.metadata["Name"]) in found:
                continue
            try:
                info = point.load()()
            except Exception as error:
                log.warning("the provider package %s is not used: %s: %s", name, type(error).__name__, error)
                continue
            if isinstance(info, dict):
                found[name] = Provider(info.get("package-name", name), _version(dist), info)
    return dict(sorted(found.items()))


def announced(section: str) -> Iterator[tuple[Provider, Any]]:
    """(package, entry) of one section of what the packages announce."""
    for provider in providers().values():
        for entry in provider.info.get(section) or ():
            yield provider, entry


def load(dotted: str) -> Any:
    """What `a.b.C` names. Raises ImportError or AttributeError."""
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


@cache
def uri_handlers() -> dict[str, str]:
    """Scheme of an asset URI → dotted name of the function that checks and cleans such URIs."""
    found: dict[str, str] = {}
    for _, entry in announced("asset-uris"):
        if handler := entry.get("handler"):
            for scheme in entry.get("schemes", ()):
                found.setdefault(scheme.lower(), handler)
    return found


@cache
def option_defaults() -> dict[tuple[str, str], str]:
    """(section, key) of options that packages define → default."""
    found: dict[tuple[str, str], str] = {}
    for provider in providers().values():
        for section, about in (provider.info.get("config") or {}).items():
            for key, option in about.get("options", {}).items():
                if (default := option.get("default")) is not None:
                    found.setdefault((section.lower(), key.lower()), str(default))
    return found


def _version(dist: Distribution) -> str:
    return dist.version or "0"
