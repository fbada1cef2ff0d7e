"""`airflow.utils.json`: JSON of XCom values."""

from __future__ import annotations

import json
from typing import Any

from trackside.sdk import serde


class XComEncoder(json.JSONEncoder):
    """Writes what `serde` knows."""

    def encode(self, o: Any) -> str:
        """See `json.JSONEncoder`."""
        return super().encode(serde.serialize(o))

    def default(self, o: Any) -> Any:
        """See `json.JSONEncoder`."""
        return serde.serialize(o)


class XComDecoder(json.JSONDecoder):
    """Reads it back."""

    def decode(self, s: str, *args: Any, **kwargs: Any) -> Any:
        """See `json.JSONDecoder`."""
        return serde.deserialize(super().decode(s, *args, **kwargs))
