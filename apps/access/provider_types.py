"""Types of connections of installed provider packages, in the words of `connection_types`.

A package says which fields it hides, how it calls the others, and which keys of `extra` have fields of their own
(`ui-field-behaviour` and `conn-fields` of its metadata). What it says goes before Trackside's own words for the type; keys of
`extra` that only Trackside knows stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from apps.access import announced
from apps.access.connection_types import BY_ID, GENERIC, TYPES, ConnectionType, ExtraField

_LABELS = {"host": "Host", "port": "Port", "schema": "Schema", "login": "Login", "password": "Password"}
_LONG = 300
"""Placeholders that are longer are samples of a whole JSON object; the form has no room for them."""

_made: tuple[Any, dict[str, ConnectionType]] = (None, {})


def by_id() -> dict[str, ConnectionType]:
    """Type id → words, of the types that Trackside knows and those of installed packages, sorted by name."""
    global _made
    told = announced.read()
    if _made[0] is not told:
        found = dict(BY_ID)
        for entry in told["types"]:
            found[entry["id"]] = _translated(entry, BY_ID.get(entry["id"]))
        generic, *others = sorted(found.values(), key=lambda kind: (kind is not TYPES[0], kind.name.lower()))
        _made = (told, {kind.id: kind for kind in (generic, *others)})
    return _made[1]


def types() -> tuple[ConnectionType, ...]:
    """Those that Trackside knows and those of installed provider packages, whose words go first."""
    return tuple(by_id().values())


def type_of(conn_type: str | None) -> ConnectionType:
    """The known type of that id, else the generic words."""
    if not conn_type:
        return GENERIC
    return by_id().get(conn_type.strip(), GENERIC)


def _translated(entry: dict[str, Any], ours: ConnectionType | None) -> ConnectionType:
    behaviour = entry.get("behaviour") or {}
    hidden, renamed = set(behaviour.get("hidden-fields") or ()), behaviour.get("relabeling") or {}
    hints = {key: str(text) for key, text in (behaviour.get("placeholders") or {}).items() if len(str(text)) <= _LONG}
    extras = [_field(key, about, hints.get(key, "")) for key, about in (entry.get("fields") or {}).items()]
    known = {extra.key for extra in extras}
    extras += [extra for extra in (ours.extras if ours else ()) if extra.key not in known]
    base = ours or ConnectionType(entry["id"], entry["name"])
    labels = {}
    for name, usual in _LABELS.items():
        own = getattr(base, name) or usual
        labels[name] = "" if name in hidden else str(renamed.get(name, own if behaviour else getattr(base, name)))
    hints = {name: text for name, text in hints.items() if name in _LABELS and name != "password"}
    return replace(base, name=entry["name"], extras=tuple(extras), placeholders=tuple(hints.items()), package=entry["package"], **labels)


def _field(key: str, about: dict[str, Any], placeholder: str) -> ExtraField:
    schema = about.get("schema") or {}
    types = schema.get("type") or ["string"]
    types = {types} if isinstance(types, str) else set(types)
    kind = "bool" if "boolean" in types else "int" if "integer" in types else "json" if types & {"object", "array", "number"} else "text"
    secret = schema.get("format") == "password"
    description = " ".join(str(about.get("description") or schema.get("description") or "").split())
    hint = description if not placeholder else f"{description} For example {placeholder}".strip()
    return ExtraField(
        key,
        str(about.get("label") or schema.get("title") or key),
        secret=secret,
        choices=tuple(str(one) for one in schema.get("enum") or ()),
        kind="long" if schema.get("format") == "multiline" else kind,
        hint=hint,
    )
