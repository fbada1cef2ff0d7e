"""What secrets back ends said to a DAG file, kept from one parse of it to the next: Airflow's `[secrets] use_cache` (row 1.258).

The processor's side (`KeptAnswers`, held by `client.ParseServer`) remembers, in memory only; the file's process (`Keeper`, set into
`trackside.sdk.secrets` by `child`) asks and tells over its channel. Every file has answers of its own: none can hand another a
connection. Only back ends' answers are kept: the environment costs nothing, and what people change in the database counts at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from trackside.sdk import options
from trackside.sdk.exceptions import AirflowConfigException

PATH = "/kept-secrets"
TTL_S = 900
MOST = 1_000
"""Answers kept per file; beyond that the oldest goes."""
Ask = Callable[..., tuple[int, Any]]
"""`Comms.request`."""


class KeptAnswers:
    """Of all files. `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._files: dict[str, dict[str, tuple[float, Any]]] = {}

    def answer(self, file: str, params: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON for one call from the process of a file: {"name"} asks, {"name", "value", "ttl"} tells."""
        name, now = str(params.get("name")), self._clock()
        if "ttl" in params:
            answers = self._files.setdefault(file, {})
            answers.pop(name, None)
            answers[name] = (now + float(params["ttl"]), params.get("value"))
            if len(answers) > MOST:
                del answers[next(iter(answers))]
            return 200, {}
        until, value = self._files.get(file, {}).get(name, (now, None))
        return (200, {"value": value}) if until > now else (404, {"detail": "not kept"})


class Keeper:
    """In the process of one file."""

    def __init__(self, ask: Ask, ttl: float) -> None:
        self._ask, self._ttl = ask, ttl

    def get(self, name: str) -> tuple[bool, Any]:
        """Whether something is kept under this name, and what."""
        status, said = self._ask("GET", PATH, params={"name": name})
        return (True, said["value"]) if status == 200 else (False, None)

    def put(self, name: str, value: Any) -> None:
        """Keep a JSON value."""
        self._ask("GET", PATH, params={"name": name, "value": value, "ttl": self._ttl})


def keeper(ask: Ask) -> Keeper | None:
    """What the options say: None unless `[secrets] use_cache` is on. Raises AirflowConfigException for what they cannot mean."""
    if not _switched_on(options.text("secrets", "use_cache") or ""):
        return None
    text = options.text("secrets", "cache_ttl_seconds") or str(TTL_S)
    try:
        return Keeper(ask, int(text))
    except ValueError:
        raise AirflowConfigException(f"[secrets] cache_ttl_seconds is {text!r}; write whole seconds.") from None


def _switched_on(text: str) -> bool:
    word = text.strip().lower()
    if word in ("t", "true", "1"):
        return True
    if word in ("", "f", "false", "0"):
        return False
    raise AirflowConfigException(f"[secrets] use_cache is {text!r}; write true or false.")
