"""Values of user code as JSON and back: what XComs and trigger arguments look like on the wire and in the database.

JSON types stay as they are; everything else becomes an envelope `{"__classname__", "__version__", "__data__"}` with the
class names and versions Airflow uses, so that REST clients see what they are used to. Nothing is ever unpickled.
Next door: `execution/ti.py` pushes and pulls XComs through here; the server stores the result without looking inside.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import importlib
import math
import os
import re
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import PurePath
from typing import Any

CLASSNAME = "__classname__"
VERSION = "__version__"
DATA = "__data__"
MAX_DEPTH = 20
"""Deepest nesting of a value (a value that contains itself would never end)."""

_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")
"""What pendulum calls a fixed distance to UTC: no zone that could be looked up by its name."""

_allowed_patterns: list[str] = []


class NotSerializable(TypeError):
    """cannot serialize object of type X: return JSON types, dates, dataclasses … or write the data elsewhere."""


class NotAllowed(ImportError):
    """X was not found in allow list for deserialization imports."""


def qualname(thing: object) -> str:
    """Dotted name of a class, or of an object's class."""
    cls = thing if isinstance(thing, type) else type(thing)
    return f"{cls.__module__}.{cls.__qualname__}"


def allow(pattern: str) -> None:
    """Let `deserialize` rebuild user classes whose dotted name matches (glob with `*`), for this process."""
    _allowed_patterns.append(pattern)


def allow_class(cls: type) -> None:
    """Let `deserialize` rebuild this class, for this process. Raises ValueError for one that cannot be found again by its name."""
    name = qualname(cls)
    module = sys.modules.get(cls.__module__)
    if "." in cls.__qualname__ or getattr(module, cls.__qualname__, None) is not cls:
        raise ValueError(f"{name} cannot be found again by its name: define it at the top of a module, under that name.")
    allow(name)


# Encoding -----------------------------------------------------------------------------------------------------------


def serialize(value: Any, depth: int = 0) -> Any:
    """JSON-ready form of `value`. Raises NotSerializable (unknown type), RecursionError (deeper than MAX_DEPTH)."""
    if depth > MAX_DEPTH:
        raise RecursionError("maximum recursion depth reached for serialization")
    if value is None or isinstance(value, bool | int | str | float):
        return _plain(value)
    if isinstance(value, list):
        return [serialize(item, depth + 1) for item in value]
    if isinstance(value, dict):
        if CLASSNAME in value:
            raise AttributeError(f"reserved key {CLASSNAME} found in dict to serialize")
        return {str(key): serialize(item, depth + 1) for key, item in value.items()}
    return _envelope(value, depth)


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return _wrap("builtins.float", 1, repr(value))  # JSON knows no NaN, PostgreSQL would refuse it
    if type(value) not in (bool, int, str, float, type(None)):  # subclasses such as Markup travel as their base
        for base in (bool, int, float, str):
            if isinstance(value, base):
                return base(value)
    return value


def _wrap(classname: str, version: int, data: Any) -> dict[str, Any]:
    return {CLASSNAME: classname, VERSION: version, DATA: data}


def _envelope(value: Any, depth: int) -> Any:
    cls = type(value)
    name = qualname(cls)
    for kinds, encode in _ENCODERS:
        if isinstance(value, kinds):
            return encode(value, name, depth)
    module = cls.__module__.partition(".")[0]
    if module in _OPTIONAL and (found := _OPTIONAL[module](value, name)) is not None:
        return found
    if callable(resolve := getattr(value, "__xcom_value__", None)):  # lazy sequences name their plain form
        return serialize(resolve(), depth)
    if callable(custom := getattr(value, "serialize", None)) and hasattr(cls, "deserialize"):
        return _wrap(name, int(getattr(cls, VERSION, 0)), serialize(custom(), depth + 1))
    if callable(dump := getattr(value, "model_dump", None)):  # pydantic
        return _wrap(name, 1, serialize(dump(mode="json"), depth + 1))
    if fields := _field_names(cls):
        data = {field: serialize(getattr(value, field), depth + 1) for field in fields}
        return _wrap(name, int(getattr(cls, VERSION, 0)), data)
    raise NotSerializable(f"cannot serialize object of type {cls}")


def _field_names(cls: type) -> list[str]:
    """Constructor fields of a dataclass or attrs class."""
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls) if field.init]
    attributes = getattr(cls, "__attrs_attrs__", None)
    if attributes is not None:
        return [a.alias or a.name for a in attributes if a.init] if not isinstance(attributes, property) else []
    return []


def _collection(value: Any, name: str, depth: int) -> Any:
    items = [serialize(item, depth + 1) for item in value]
    fields = getattr(value, "_fields", None)
    return _wrap("builtins.tuple" if fields else name, 1, items)  # a named tuple travels as a tuple


def _datetime(value: dt.datetime, name: str, depth: int) -> Any:
    zone = None if value.tzinfo is None else serialize(_zone_parts(value.tzinfo), depth + 1)
    return _wrap(name, 2, {"timestamp": value.timestamp(), "tz": zone})


def _zone_parts(zone: dt.tzinfo) -> tuple[Any, str, int, bool]:
    name = getattr(zone, "key", None) or getattr(zone, "name", None) or getattr(zone, "zone", None)
    if not isinstance(name, str) or not name or _OFFSET.fullmatch(name):
        offset = zone.utcoffset(None)
        name = "UTC" if not offset else int(offset.total_seconds())  # type: ignore[assignment]
    return name, qualname(zone), 1, True


def _decimal(value: Decimal, name: str, depth: int) -> Any:
    exponent = value.as_tuple().exponent
    return _wrap(name, 1, int(value) if isinstance(exponent, int) and exponent >= 0 else _plain(float(value)))


def _number_of(value: Any, name: str) -> Any:
    """numpy scalars and arrays."""
    if callable(getattr(value, "tolist", None)):
        return _wrap(name, 1, serialize(value.tolist()))
    return None


def _frame(value: Any, name: str) -> Any:
    """pandas data frames as hexadecimal Parquet, which needs pyarrow."""
    if not name.endswith(".DataFrame"):
        return None
    return _wrap(name, 1, value.to_parquet().hex())


_ASSETS = "airflow.sdk.definitions.asset."
_ASSET_FIELDS = {"Asset": ("name", "uri", "group", "extra"), "AssetAlias": ("name", "group")}


def _own(value: Any, name: str) -> Any:
    """Trackside's own classes, under the names Airflow has for them."""
    short = "AssetAlias" if name.endswith("AssetAlias") else "Asset"
    if name.startswith("trackside.sdk.assets.") and all(hasattr(value, field) for field in _ASSET_FIELDS[short]):
        data = {field: serialize(getattr(value, field)) for field in _ASSET_FIELDS[short]}
        return _wrap(_ASSETS + short, 1, data)
    if name == "trackside.sdk.param.ParamsDict":
        return serialize(value.dump())
    if name == "trackside.sdk.storage.ObjectStoragePath":
        return _wrap("airflow.sdk.io.path.ObjectStoragePath", value.__version__, serialize(value.serialize()))
    if isinstance(value, Sequence):  # what `.map()` and `.zip()` of task results give
        return [serialize(item) for item in value]
    return None


_ENCODERS: tuple[tuple[Any, Callable[[Any, str, int], Any]], ...] = (
    (tuple | set | frozenset, _collection),
    (dt.datetime, _datetime),
    (dt.date, lambda v, n, d: _wrap(n, 2, v.isoformat())),
    (dt.time, lambda v, n, d: _wrap(n, 1, v.isoformat())),
    (dt.timedelta, lambda v, n, d: _wrap(n, 2, v.total_seconds())),
    (dt.tzinfo, lambda v, n, d: _wrap(n, 1, _zone_parts(v)[0])),
    (Decimal, _decimal),
    (bytes | bytearray, lambda v, n, d: _wrap(n, 1, base64.b64encode(v).decode())),
    (uuid.UUID, lambda v, n, d: _wrap(n, 1, str(v))),
    (enum.Enum, lambda v, n, d: serialize(v.value, d)),
    (PurePath, lambda v, n, d: str(v)),
)
_OPTIONAL: dict[str, Callable[[Any, str], Any]] = {"numpy": _number_of, "pandas": _frame, "trackside": _own}


# Decoding -----------------------------------------------------------------------------------------------------------


def deserialize(value: Any) -> Any:
    """Inverse of `serialize`. Raises NotAllowed for user classes that no `allow` pattern covers."""
    if isinstance(value, list):
        return [deserialize(item) for item in value]
    if not isinstance(value, dict):
        return value
    if CLASSNAME not in value:
        return {key: deserialize(item) for key, item in value.items()}
    name, data = value[CLASSNAME], value.get(DATA)
    if decode := _DECODERS.get(name):
        return decode(data)
    if name.startswith("numpy."):
        return _numpy(name, data)
    if name.startswith("pandas."):
        return _pandas(data)
    return _rebuild(name, int(value.get(VERSION) or 0), data)


def _load_datetime(data: Mapping[str, Any]) -> dt.datetime:
    zone = _load_zone(data.get("tz"))
    if zone is None:
        return dt.datetime.fromtimestamp(data["timestamp"])  # noqa: DTZ006 — it was naive when it was pushed
    return dt.datetime.fromtimestamp(data["timestamp"], tz=zone)


def _load_pendulum(data: Mapping[str, Any]) -> dt.datetime:
    import pendulum

    return pendulum.from_timestamp(data["timestamp"], tz=_load_pendulum_zone(data.get("tz")))


def _load_zone(envelope: Any) -> dt.tzinfo | None:
    if envelope is None:
        return None
    name, classname = (deserialize(envelope) if isinstance(envelope, dict) else (envelope, ""))[:2]
    if classname.startswith("datetime.") or isinstance(name, int):
        return dt.UTC if name == "UTC" else dt.timezone(dt.timedelta(seconds=int(name)))
    if classname.startswith("zoneinfo."):
        from zoneinfo import ZoneInfo

        return ZoneInfo(name)
    return _load_pendulum_zone(envelope)


def _load_pendulum_zone(envelope: Any) -> Any:
    import pendulum

    name = deserialize(envelope)[0] if isinstance(envelope, dict) else envelope
    if isinstance(name, str) and (fixed := _OFFSET.fullmatch(name)):
        hours, minutes = int(fixed[2]), int(fixed[3])
        name = (-1 if fixed[1] == "-" else 1) * (hours * 3600 + minutes * 60)
    return pendulum.timezone("UTC" if name is None else name)


def _load_zoneinfo(data: Any) -> dt.tzinfo:
    from zoneinfo import ZoneInfo

    return ZoneInfo(data)


def _pendulum_duration(data: float) -> Any:
    import pendulum

    return pendulum.duration(seconds=data)


def _pendulum_date(data: str) -> Any:
    import pendulum

    parsed = dt.date.fromisoformat(data)
    return pendulum.date(parsed.year, parsed.month, parsed.day)


def _timezone(data: Any) -> dt.tzinfo:
    return dt.UTC if data == "UTC" else dt.timezone(dt.timedelta(seconds=int(data)))


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "builtins.tuple": lambda d: tuple(deserialize(i) for i in d),
    "builtins.set": lambda d: {deserialize(i) for i in d},
    "builtins.frozenset": lambda d: frozenset(deserialize(i) for i in d),
    "builtins.float": float,
    "builtins.bytes": base64.b64decode,
    "builtins.bytearray": lambda d: bytearray(base64.b64decode(d)),
    "datetime.datetime": _load_datetime,
    "pendulum.datetime.DateTime": _load_pendulum,
    "datetime.date": dt.date.fromisoformat,
    "pendulum.date.Date": _pendulum_date,
    "datetime.time": dt.time.fromisoformat,
    "datetime.timedelta": lambda d: dt.timedelta(seconds=d),
    "pendulum.duration.Duration": _pendulum_duration,
    "datetime.timezone": _timezone,
    "zoneinfo.ZoneInfo": _load_zoneinfo,
    "pendulum.tz.timezone.Timezone": _load_pendulum_zone,
    "pendulum.tz.timezone.FixedTimezone": _load_pendulum_zone,
    "decimal.Decimal": lambda d: Decimal(str(deserialize(d))),
    "uuid.UUID": uuid.UUID,
}


def _load_asset(data: Any) -> Any:
    from trackside.sdk.assets import Asset

    return Asset(**{key: value for key, value in deserialize(data).items() if key in _ASSET_FIELDS["Asset"]})


def _load_alias(data: Any) -> Any:
    from trackside.sdk.assets import AssetAlias

    return AssetAlias(**{key: value for key, value in deserialize(data).items() if key in _ASSET_FIELDS["AssetAlias"]})


_DECODERS[_ASSETS + "Asset"] = _load_asset
_DECODERS[_ASSETS + "AssetAlias"] = _load_alias


def _numpy(name: str, data: Any) -> Any:
    numpy = importlib.import_module("numpy")
    short = name.rpartition(".")[2]
    return numpy.array(deserialize(data)) if short == "ndarray" else getattr(numpy, short)(deserialize(data))


def _pandas(data: Any) -> Any:
    import io

    return importlib.import_module("pandas").read_parquet(io.BytesIO(bytes.fromhex(data)))


def _is_allowed(name: str) -> bool:
    if name.startswith(("airflow.", "trackside.")):
        return True
    configured = os.environ.get("AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES", "").split()
    patterns = [p.replace(".", r"\.").replace("*", ".*") for p in (*_allowed_patterns, *configured)]
    if any(re.fullmatch(pattern, name) for pattern in patterns):
        return True
    regexp = os.environ.get("AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES_REGEXP", "").split()
    return any(re.match(pattern, name) for pattern in regexp)


def _rebuild(name: str, version: int, data: Any) -> Any:
    if not _is_allowed(name):
        raise NotAllowed(
            f"{name} was not found in allow list for deserialization imports. To allow it, add it to the environment "
            "variable AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES of the workers, or push plain values."
        )
    module, _, attribute = name.rpartition(".")
    holder = sys.modules.get(module) or importlib.import_module(module)
    cls = getattr(holder, attribute)
    if not isinstance(cls, type):
        raise NotAllowed(f"{name} is not a class")
    if callable(custom := getattr(cls, "deserialize", None)):
        return custom(deserialize(data), version)
    if callable(validate := getattr(cls, "model_validate", None)):
        return validate(deserialize(data))
    if not _field_names(cls):
        raise NotAllowed(f"{name} cannot be rebuilt: it is neither a dataclass nor has it a deserialize method")
    return cls(**deserialize(data))
