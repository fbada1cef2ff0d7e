"""XComs that carry secrets: what people see of them, and what a task that reads one learns to keep out of its log.

For `ti.py` and `xcom.py`. The value travels whole, or the tasks after it could not work; beside it goes the form for people, in
which the secrets that the writing process knew of are replaced. Who reads such a value later has the same to hide, though it never
asked for the connection itself. What a value hides by the names inside it is the server's business (`apps.access.masking`).
"""

from __future__ import annotations

import re
from typing import Any

from trackside.sdk.log import HIDDEN, hide_in, mask_secret

_SEVERAL = 3
"""Secrets in one text that are told apart; a text with more of them is hidden as a whole, as matching could take for ever."""


def shown(stored: Any) -> Any:
    """The stored form of a value as people may see it, or None if that is the value itself."""
    masked = hide_in(stored)
    return masked if masked != stored else None


def learn(value: Any, masked: Any) -> None:
    """Hide in this process, too, what `masked`, the form for people, leaves out of `value`."""
    if isinstance(value, str):
        if value != masked:
            _learn_text(value, masked if isinstance(masked, str) else HIDDEN)
    elif isinstance(value, dict):
        there = masked if isinstance(masked, dict) else {}
        for key, item in value.items():
            learn(item, there.get(key))
    elif isinstance(value, list):
        beside = masked if isinstance(masked, list) and len(masked) == len(value) else [None] * len(value)
        for item, other in zip(value, beside, strict=True):
            learn(item, other)


def _learn_text(text: str, masked: str) -> None:
    around = masked.split(HIDDEN)
    found = re.fullmatch("(.+?)".join(map(re.escape, around)), text, re.DOTALL) if 1 < len(around) <= _SEVERAL + 1 else None
    for secret in found.groups() if found else (text,):
        mask_secret(secret)
