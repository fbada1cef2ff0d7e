"""Conditions over assets, as they are stored with a DAG: what they name, and whether they are met.

For the catalogue (which references a DAG has) and the scheduler (whether its run is due). A condition is JSON:
{"asset": {"name", "uri", …}}, {"alias": {"name", …}}, {"asset_ref": {"name"} or {"uri"}}, {"all": […]} or {"any": […]}.
Written by `trackside.sdk.assets`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class News:
    """An asset that has news, and the aliases through which it was ever written."""

    name: str
    uri: str
    aliases: frozenset[str] = frozenset()


def leaves(condition: dict[str, Any] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """("asset" | "alias" | "asset_ref", its fields) of everything a condition names, in order."""
    for word, value in (condition or {}).items():
        if word in ("all", "any"):
            for part in value:
                yield from leaves(part)
        elif word in ("asset", "alias", "asset_ref"):
            yield word, value


def met(condition: dict[str, Any] | None, news: Sequence[News]) -> bool:
    """Whether the assets with news satisfy the condition. No condition is never met, nor is an unknown word."""
    for word, value in (condition or {}).items():
        if word == "all":
            return bool(value) and all(met(part, news) for part in value)
        if word == "any":
            return any(met(part, news) for part in value)
        if word == "asset":
            return any(n.name == value.get("name") and n.uri == value.get("uri") for n in news)
        if word == "alias":
            return any(value.get("name") in n.aliases for n in news)
        if word == "asset_ref":
            return any(n.name == value["name"] if "name" in value else n.uri == value.get("uri") for n in news)
    return False
