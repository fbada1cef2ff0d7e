"""Values of user code as JSON: the envelopes that REST clients see, and that everything comes back as it was."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid
from decimal import Decimal

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.sdk import serde
from trackside.sdk.assets import Asset


@dataclasses.dataclass
class Point:
    x: int
    y: int


def back(value):
    """There, through JSON text, and back."""
    return serde.deserialize(json.loads(json.dumps(serde.serialize(value))))


@pytest.mark.parametrize("value", [None, True, 42, 1.5, "text é", [3, 1, "two", None], {"b": {"c": [1, 2]}, "a": 1}])
def test_plain_json_values_travel_as_they_are(value):
    assert serde.serialize(value) == value
    assert back(value) == value


@pytest.mark.parametrize(
    "value",
    [
        (1, (2, "x")),
        {1, 2},
        frozenset({"a"}),
        b"\x00\xff",
        Decimal("-1.25"),
        Decimal(7),
        uuid.UUID(int=5),
        dt.date(2024, 5, 6),
        dt.timedelta(minutes=90, microseconds=5),
        dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.UTC),
        dt.datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        pendulum.datetime(2024, 7, 6, tz="Europe/Berlin"),
        float("inf"),
        Asset("a", uri="s3://x/y"),
    ],
)
def test_other_types_come_back_as_they_were(value):
    again = back(value)
    assert again == value
    assert type(again) is type(value)


def test_a_tuple_and_a_moment_look_as_in_airflow():
    assert serde.serialize((1, "x")) == {"__data__": [1, "x"], "__version__": 1, "__classname__": "builtins.tuple"}
    assert serde.serialize(pendulum.datetime(2024, 5, 6, 7, 8, 9, tz="UTC")) == {
        "__data__": {
            "tz": {
                "__data__": ["UTC", "pendulum.tz.timezone.Timezone", 1, True],
                "__version__": 1,
                "__classname__": "builtins.tuple",
            },
            "timestamp": 1714979289.0,
        },
        "__version__": 2,
        "__classname__": "pendulum.datetime.DateTime",
    }


def test_a_zone_survives_a_round_trip():
    there = pendulum.datetime(2024, 7, 6, 12, tz="America/New_York")
    assert back(there).timezone_name == "America/New_York"


@pytest.mark.parametrize("text", ["2024-01-01T00:00:00+00:00", "2024-01-01T00:00:00+05:30", "2024-01-01T00:00:00-03:00"])
def test_a_moment_read_from_text_with_an_offset_comes_back(text):
    there = pendulum.parse(text)
    assert back(there) == there
    assert back(there).utcoffset() == there.utcoffset()
    assert back([there.tzinfo])[0].utcoffset(None) == there.utcoffset()


def test_an_offset_stored_under_its_name_is_read_too():
    zone = {"__classname__": "builtins.tuple", "__version__": 1, "__data__": ["-03:30", "pendulum.tz.timezone.FixedTimezone", 1, True]}
    stored = {"__classname__": "pendulum.datetime.DateTime", "__version__": 2, "__data__": {"timestamp": 0.0, "tz": zone}}
    assert serde.deserialize(stored).utcoffset() == dt.timedelta(hours=-3, minutes=-30)


def test_user_classes_are_written_but_read_only_if_allowed(monkeypatch):
    name = f"{__name__}.Point"
    envelope = serde.serialize(Point(1, 2))
    assert envelope == {"__classname__": name, "__version__": 0, "__data__": {"x": 1, "y": 2}}
    with pytest.raises(ImportError, match="not found in allow list"):
        serde.deserialize(envelope)
    monkeypatch.setenv("AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES", f"other.* {name}")
    assert serde.deserialize(envelope) == Point(1, 2)


def test_an_envelope_cannot_name_a_function_to_call(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES", "os.*")
    with pytest.raises(ImportError, match="is not a class"):
        serde.deserialize({"__classname__": "os.system", "__version__": 1, "__data__": "true"})


@pytest.mark.parametrize("value", [object(), lambda: None, {"f": open}])
def test_what_cannot_be_written_is_refused_by_type(value):
    with pytest.raises(TypeError, match="cannot serialize object of type"):
        serde.serialize(value)


def test_a_value_that_contains_itself_is_refused():
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(RecursionError):
        serde.serialize(loop)


def test_the_reserved_key_is_refused():
    with pytest.raises(AttributeError, match="reserved key"):
        serde.serialize({"__classname__": "x"})


_leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.dates()
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text().filter(lambda k: k != "__classname__"), inner, max_size=3)
    | st.lists(inner, max_size=3).map(tuple),
    max_leaves=10,
)


@given(_values)
def test_any_nested_value_comes_back(value):
    assert back(value) == value


class Declared:
    """A class at the top of a module."""

    def __init__(self, n: int) -> None:
        self.n = n

    def serialize(self) -> dict[str, int]:
        return {"n": self.n}

    @staticmethod
    def deserialize(data: dict[str, int], version: int) -> Declared:
        return Declared(data["n"])


def test_a_class_may_be_allowed_in_code(monkeypatch):
    monkeypatch.setattr(serde, "_allowed_patterns", [])
    stored = serde.serialize(Declared(3))
    with pytest.raises(serde.NotAllowed):
        serde.deserialize(stored)
    serde.allow_class(Declared)
    assert serde.deserialize(stored).n == 3

    class Local:
        pass

    with pytest.raises(ValueError, match="define it at the top of a module"):
        serde.allow_class(Local)
