"""JSON for values of users: exact whole numbers, orjson's strictness."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.runner import jsonio

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES | st.integers(-(10**60), 10**60))
def test_every_value_comes_back_as_it_was(value: object) -> None:
    assert jsonio.exact_loads(jsonio.exact_dumps(value)) == value
    assert jsonio.loads(jsonio.dumps(value)) == value


def test_dates_and_ids_are_written_the_same_beside_a_huge_number() -> None:
    moment, some_id = dt.datetime(2024, 1, 2, tzinfo=dt.UTC), uuid.UUID(int=5)
    small, huge = ({"at": moment, "id": some_id, "n": n} for n in (1, 10**30))
    assert jsonio.exact_dumps(huge).replace(b"1" + b"0" * 30, b"1") == jsonio.exact_dumps(small)


@pytest.mark.parametrize("text", [b"{", b"NaN", b"[1,]", b"", b'{"a": 12345678901234567890123, }',
                                  b'[NaN, 12345678901234567890123]', b'["\\ud800", 12345678901234567890123]'])  # fmt: skip
def test_what_is_no_json_is_refused_as_before(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        jsonio.exact_loads(text)


def test_what_json_cannot_say_is_a_type_error_also_beside_a_huge_number() -> None:
    endless: list[object] = [10**30]
    endless.append(endless)
    for value in (object(), [10**30, object()], endless):
        with pytest.raises(TypeError):
            jsonio.exact_dumps(value)


def test_more_digits_than_python_reads_are_refused() -> None:
    with pytest.raises(ValueError, match="digits"):
        jsonio.exact_loads(b"[" + b"9" * 5000 + b"]")
