"""Secrets stay out of logs and pages: what is secret, how to hide it, and the mixin that gives objects a logger.

For operators and hooks (`mask_secret`, `self.log`) and for rendered fields. The log's writer lives in the runner;
`mask_secret` tells it through the active `Comms` before it returns.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from trackside.core.masking import Masker
from trackside.sdk.execution import current

SENSITIVE_NAMES = frozenset(
    (
        *("access_token", "api_key", "apikey", "authorization", "keyfile_dict", "passphrase", "passwd", "password"),
        *("private_key", "proxy", "proxies", "secret", "service_account", "token"),
    )
)
"""A field whose name contains one of these holds a secret; `AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES` adds more."""
MIN_LENGTH = 5
"""Shorter values are not masked: they would blank out ordinary words."""
HIDDEN = "***"
_DEEP = 50
"""What lies deeper is hidden as a whole: it cannot be looked through."""

_secrets: set[str] = set()
_masker = Masker()


def is_sensitive(name: object) -> bool:
    """Whether a field of this name is taken for a secret."""
    if not isinstance(name, str):
        return False
    extra = os.environ.get("AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES", "")
    names = SENSITIVE_NAMES | {part.strip().lower() for part in extra.split(",") if part.strip()}
    return any(word in name.strip().lower() for word in names)


async def amask_secret(secret: Any, name: str | None = None) -> None:
    """`mask_secret` for code in an event loop."""
    mask_secret(secret, name)


def mask_secret(secret: Any, name: str | None = None) -> None:
    """Hide `secret` in the log and rendered fields from now on.

    A mapping is searched for values under sensitive names, other iterables are masked item by item; with `name`, a
    string is masked only if the name is sensitive.
    """
    if isinstance(secret, str):
        if name is None or is_sensitive(name):
            _add(secret)
    elif isinstance(secret, Mapping):
        for key, value in secret.items():
            mask_secret(value, str(key) if name is None or not is_sensitive(name) else None)
    elif isinstance(secret, Iterable) and not isinstance(secret, bytes):
        for value in secret:
            mask_secret(value, name)


def _add(secret: str) -> None:
    if len(secret) < MIN_LENGTH or secret in _secrets:
        return
    _secrets.add(secret)
    _masker.add(secret)
    if active := current.comms():
        active.mask(secret)


def forget_secrets() -> None:
    """Start with an empty list (tests; a fork server's children inherit none)."""
    global _masker
    _secrets.clear()
    _masker = Masker()


def hide_in(value: Any) -> Any:
    """`value` (JSON) with known secrets, and passwords in URLs, in its texts replaced by ***; names of fields do not matter here."""
    return _masker.hide_in(value)


def redact(value: Any, name: str | None = None, max_depth: int | None = None, replacement: str = HIDDEN) -> Any:
    """`value` with known secrets, and everything under a sensitive name, replaced by ***."""
    return _redact(value, name, _DEEP if max_depth is None else max_depth, replacement, max_depth is None)


def _redact(value: Any, name: str | None, depth: int, replacement: str, hide_rest: bool) -> Any:
    if name is not None and is_sensitive(name) and not isinstance(value, bool | None):
        return _all_hidden(value, replacement)
    if isinstance(value, str):
        return _masker.hide_known(value, replacement)
    if depth <= 0:
        return replacement if hide_rest and isinstance(value, dict | list | set | tuple) else value
    if isinstance(value, dict):
        return {key: _redact(item, str(key), depth - 1, replacement, hide_rest) for key, item in value.items()}
    if isinstance(value, list | set):
        return type(value)(_redact(item, None, depth - 1, replacement, hide_rest) for item in value)
    if type(value) is tuple:
        return tuple(_redact(item, None, depth - 1, replacement, hide_rest) for item in value)
    return value


def _all_hidden(value: Any, replacement: str) -> Any:
    if isinstance(value, dict):
        return {key: _all_hidden(item, replacement) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_all_hidden(item, replacement) for item in value]
    return replacement if value not in (None, "") else value


class LoggingMixin:
    """Gives an object `self.log`, named after its class."""

    _log_config_logger_name: str | None = None
    _logger_name: str | None = None

    def __init__(self, context: Any = None) -> None:
        self._log_context = context

    @cached_property
    def log(self) -> logging.Logger:
        """The logger of this object's class, below `_log_config_logger_name` if that is set."""
        name = self._logger_name or f"{type(self).__module__}.{type(self).__qualname__}"
        parent = self._log_config_logger_name
        return logging.getLogger(f"{parent}.{name}" if parent else name)

    @property
    def logger(self) -> logging.Logger:
        """The same logger under its other name."""
        return self.log


def remove_escape_codes(text: str) -> str:
    """`text` without terminal colours."""
    return re.sub(r"\x1B\[[0-?]*[ -/]*[@-~]", "", text)
