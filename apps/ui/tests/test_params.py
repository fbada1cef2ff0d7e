"""The trigger form of a DAG's params: one control each, and the conf it says."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import QueryDict

from apps.runs.errors import Invalid
from apps.ui import params
from apps.ui.inline import markdown


def form(**schemas: Any) -> dict[str, params.ParamField]:
    """Fields by name; a param is (default, schema) or a schema alone."""
    made = {}
    for name, said in schemas.items():
        default, schema = said if isinstance(said, tuple) else (None, said)
        made[name] = {"schema": schema, **({"value": default} if isinstance(said, tuple) else {})}
    return {f.name: f for f in params.fields(made)}


def conf(fields: dict[str, params.ParamField], **texts: str | list[str]) -> dict[str, Any]:
    """What is read back when the form is sent with these values."""
    data = QueryDict(mutable=True)
    for name, text in texts.items():
        data.setlist(f"param.{name}", text if isinstance(text, list) else [text])
    return params.read(list(fields.values()), data)


@pytest.mark.parametrize(
    ("default", "schema", "widget"),
    [
        (3, {}, "number"), ("x", {}, "text"), (False, {}, "checkbox"), (["a", "b"], {}, "textarea"), ({"a": 1}, {}, "json"),
        (1, {"type": "integer"}, "number"), ("a", {"type": "string", "enum": ["a"]}, "select"),
        ("a", {"type": "string", "examples": ["a"]}, "text"), (["a"], {"type": "array", "examples": ["a"]}, "multi"),
        ([1], {"type": "array", "items": {"type": "number"}}, "json"),
        ("x", {"type": ["string", "null"], "format": "multiline"}, "textarea"),
        ("12:13:14", {"type": "string", "format": "time"}, "time"), ("2024-01-01", {"type": "string", "format": "date"}, "date"),
        ("PT15M", {"type": "string", "format": "duration"}, "text"), (5, {"type": ["integer", "string"]}, "text"),
        ({}, {"type": ["object", "null"]}, "json"),
    ],
)  # fmt: skip
def test_each_kind_has_its_control(default: Any, schema: dict[str, Any], widget: str) -> None:
    assert form(p=(default, schema))["p"].widget == widget


@pytest.mark.parametrize(
    ("kinds", "text", "value"),
    [
        (["integer", "string"], "500", 500), (["integer", "string"], "all", "all"), (["integer", "string"], "1.5", "1.5"),
        (["boolean", "string"], "true", True), (["boolean", "string"], "a@b", "a@b"), (["integer", "boolean"], "true", True),
        (["string", "object"], '{"a": 1}', {"a": 1}), (["string", "object"], "nightly", "nightly"),
        (["integer", "string", "null"], "", None),
    ],
)  # fmt: skip
def test_a_param_of_several_types_is_the_first_that_fits(kinds: list[str], text: str, value: Any) -> None:
    assert conf(form(p=(None, {"type": kinds})), p=text) == {"p": value}


def test_what_fits_no_type_is_said_at_its_field() -> None:
    fields = form(p=(1, {"type": ["integer", "boolean"]}), q=(1, {"type": "integer"}))
    with pytest.raises(Invalid):
        conf(fields, p="x", q="y")
    assert (fields["p"].error, fields["q"].error) == ("x is neither integer nor boolean.", "y is not a whole number.")


def test_choices_show_their_words_and_keep_their_values() -> None:
    labels = {"1": "One", "null": "None (clear)"}
    fields = form(
        one=(1, {"type": ["number", "null"], "enum": [1, 2, None], "values_display": labels}),
        many=(["2"], {"type": "array", "examples": ["1", "2"], "values_display": {"1": "One", "2": "Two"}}),
    )
    assert fields["one"].options == [("1", "One", True), ("2", "2", False), ("null", "None (clear)", False)]
    assert fields["many"].options == [('"1"', "One", False), ('"2"', "Two", True)]
    assert conf(fields, one="null", many=['"1"', '"2"']) == {"one": None, "many": ["1", "2"]}


def test_moments_are_shown_and_read_in_utc() -> None:
    fields = form(at=("2024-05-01T12:17:05+02:00", {"type": "string", "format": "date-time"}))
    assert fields["at"].shown == "2024-05-01T10:17:05"
    assert conf(fields, at="2024-05-01T10:17:05") == {"at": "2024-05-01T10:17:05+00:00"}
    assert conf(fields, at="2024-05-01T10:17") == {"at": "2024-05-01T10:17:00+00:00"}


def test_sections_keep_together_and_constants_are_not_shown() -> None:
    made = {
        "a": {"value": 1, "schema": {}}, "b": {"value": 1, "schema": {"section": "S"}}, "c": {"value": 1, "schema": {}},
        "d": {"value": 1, "schema": {"section": "S"}}, "e": {"value": 1, "schema": {"const": 1}},
    }  # fmt: skip
    assert [(f.name, f.new_section) for f in params.fields(made)] == [("a", False), ("c", False), ("b", True), ("d", False)]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a **b** _c_ `d`", "a <strong>b</strong> <em>c</em> <code>d</code>"),
        ("[x](https://e.org/a_b_c)", '<a href="https://e.org/a_b_c" rel="noopener noreferrer" target="_blank">x</a>'),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("[x](javascript:alert)", "[x](javascript:alert)"),
        ('[x](https://e" onclick="y)', "[x](https://e&quot; onclick=&quot;y)"),
        ("a_b_c 2*3*4", "a_b_c 2*3*4"),
        ("`**x**` \x000\x00", "<code>**x**</code> 0"),
    ],
)
def test_descriptions_are_a_little_markdown_and_never_html(text: str, html: str) -> None:
    assert markdown(text) == html
