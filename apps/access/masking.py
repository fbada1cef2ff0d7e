"""Hides secrets in what people and programs get to see: by the name a value goes by, at any depth.

For REST answers, XComs, the audit trail and the pages. Next door: the runner masks task logs by value, in its own process, and a task
says itself what of its XComs people may see (`trackside.sdk.execution.hiding`).
"""

from __future__ import annotations

import json
import re
from typing import Any

MASK = "***"
SENSITIVE_WORDS = (
    "access_key",
    "access_token",
    "api_key",
    "apikey",
    "authorization",
    "bearer",
    "connection_string",
    "dsn",
    "keyfile_dict",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "proxies",
    "proxy",
    "secret",
    "service_account",
    "token",
)
"""A name that contains one of these, in any case, names a secret (Airflow's list)."""
_MAX_DEPTH = 100
"""What lies deeper is hidden: it cannot be looked through."""


def is_sensitive(name: Any) -> bool:
    """Whether a value of this name is hidden."""
    return isinstance(name, str) and any(word in name.lower() for word in SENSITIVE_WORDS)


def mask(value: Any, name: Any = None, depth: int = 0) -> Any:
    """A copy of `value` (JSON) without secrets: everything under a sensitive name becomes `***`, structure stays."""
    if depth > _MAX_DEPTH:
        return MASK
    if is_sensitive(name):
        return _mask_all(value, depth)
    if isinstance(value, dict):
        return {k: mask(v, k, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [mask(v, None, depth + 1) for v in value]
    return value


def _mask_all(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return MASK
    if isinstance(value, dict):
        return {k: _mask_all(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_mask_all(v, depth + 1) for v in value]
    return value if value is None or isinstance(value, bool) else MASK


def mask_text(text: str | None, name: str | None = None) -> str | None:
    """`mask` for JSON kept as text; text that is no JSON is hidden as a whole when its name is sensitive."""
    if text is None:
        return None
    try:
        parsed = json.loads(text)
    except ValueError:
        return MASK if text and is_sensitive(name) else text
    return json.dumps(mask(parsed, name)) if not isinstance(parsed, str) or not is_sensitive(name) else MASK


_MEMBER = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:\s*("(?:[^"\\]|\\.)*"?|[\[{]|[^,}\]\s]+)', re.DOTALL)


def mask_beginning(text: str, name: str | None = None) -> str:
    """`mask` for the first part of a JSON text that is too long to be read as a whole.

    Where something with parts of its own lies under a sensitive name the text ends: how far it goes is not known.
    """
    if is_sensitive(name):
        return MASK
    out, at = [], 0
    for member in _MEMBER.finditer(text):
        if member.start() < at or not is_sensitive(member[1]):
            continue
        out.append(f'{text[at : member.start(2)]}"{MASK}"')
        at = member.end(2)
        if member[2] in ("[", "{"):
            return "".join(out)
    return "".join(out) + text[at:]


def unmask(new: Any, old: Any, name: Any = None) -> Any:
    """What a person meant who sent a masked value back: `***` under a sensitive name keeps the old secret."""
    if isinstance(new, dict) and isinstance(old, dict):
        return {
            k: unmask(v, old.get(k), k) if not is_sensitive(name) else unmask(v, old.get(k), name)
            for k, v in new.items()
        }
    if isinstance(new, list) and isinstance(old, list):
        return [unmask(v, old[i] if i < len(old) else None, name) for i, v in enumerate(new)]
    return old if new == MASK and old is not None and is_sensitive(name) else new


def mask_request(value: Any, name: Any = None) -> Any:
    """`mask` for the body of a request: also looks into JSON kept as text, and masks the value of a variable by its key."""
    if isinstance(value, dict):
        named = {k: mask_request(v, k) for k, v in value.items()}
        if "key" in value and "value" in value:
            named["value"] = mask_request(value["value"], value["key"])
        return _mask_all(named, 0) if is_sensitive(name) else named
    if isinstance(value, list):
        return [mask_request(v, name) for v in value]
    if isinstance(value, str) and value[:1] in ("{", "["):
        return mask_text(value, name)
    return mask(value, name)
