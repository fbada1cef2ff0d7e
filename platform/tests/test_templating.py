"""Templates in operator arguments: what is rendered, what is refused, and that unread context keys cost nothing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import jinja2
import pytest

from trackside.sdk.execution.context import Context
from trackside.sdk.templating import Templater, literal, make_environment, render_text


class Thing(Templater):
    template_fields = ("a", "b")
    template_ext = (".sql",)

    def __init__(self, a, b=None):
        self.a, self.b = a, b

    def get_template_env(self, dag=None):
        return make_environment(searchpath=[str(self.folder)] if hasattr(self, "folder") else [])


def text(template, **context):
    return render_text(template, context, make_environment())


def native(template, **context):
    return render_text(template, context, make_environment(native=True))


def test_every_kind_of_collection_is_rendered():
    thing = Thing(["{{ x }}", ("{{ x }}",), {"k": "{{ x }}", 1: 2}], {"{{ x }}"})
    thing.render_template_fields({"x": 5})
    assert thing.a == ["5", ("5",), {"k": "5", 1: 2}]
    assert thing.b == {"5"}


def test_objects_with_template_fields_inside_arguments_are_rendered_once():
    inner = Thing("{{ x }}")
    thing = Thing([inner, inner])
    thing.render_template_fields({"x": "{{ x }}"})
    assert inner.a == "{{ x }}"


def test_a_literal_is_left_alone():
    thing = Thing(literal("{{ x }}"), [literal("{{ y }}")])
    thing.render_template_fields({})
    assert (thing.a, thing.b) == ("{{ x }}", ["{{ y }}"])


def test_a_path_is_no_reference_to_a_task():
    thing = Thing(Path("/tmp/x"))
    thing.render_template_fields({})
    assert thing.a == Path("/tmp/x")


def test_a_callable_field_is_asked_for_its_value():
    thing = Thing(lambda context, jinja_env: context["x"] + 1)
    thing.render_template_fields({"x": 1})
    assert thing.a == 2


def test_native_results_keep_their_type_and_text_stays_text():
    assert native("{{ [1, 2] }}") == [1, 2]
    assert native("{{ n + 2 }}", n=40) == 42
    assert native("{{ 1 }} and {{ 2 }}") == "1 and 2"
    assert text("{{ [1, 2] }}") == "[1, 2]"


def test_an_unknown_name_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="'nope' is undefined"):
        text("{{ nope }}")


@pytest.mark.parametrize("template", ["{{ ().__class__ }}", "{{ x.__init__.__globals__ }}"])
@pytest.mark.parametrize("is_native", [True, False])
def test_python_internals_are_out_of_reach(template, is_native):
    with pytest.raises(jinja2.exceptions.SecurityError):
        render_text(template, {"x": Thing(1)}, make_environment(native=is_native))


def test_private_attributes_are_readable():
    thing = Thing(1)
    thing._secretive = "seen"
    assert text("{{ x._secretive }}", x=thing) == "seen"


def test_the_do_statement_macros_and_filters_work():
    env = make_environment(macros={"base": 40}, filters={"shout": str.upper})
    assert render_text("{% set l = [] %}{% do l.append(base) %}{{ l }} {{ 'a' | shout }}", {}, env) == "[40] A"


def test_date_filters():
    day = dt.datetime(2024, 3, 9, 22, 15, 30, tzinfo=dt.UTC)
    shown = text("{{ d | ds }} {{ d | ds_nodash }} {{ d | ts }} {{ d | ts_nodash }} {{ d | ts_nodash_with_tz }}", d=day)
    assert shown == "2024-03-09 20240309 2024-03-09T22:15:30+00:00 20240309T221530 20240309T221530+0000"


def test_text_without_markers_comes_out_as_jinja_would_give_it():
    for plain in ("echo $A", "two\nlines\n", "crlf\r\n", "} }} %}"):
        assert text(plain) == make_environment().from_string(plain).render()


def test_template_files_are_read_and_rendered(tmp_path):
    (tmp_path / "q.sql").write_text("select '{{ ds }}'")
    thing = Thing("q.sql", ["q.sql", "plain"])
    thing.folder = tmp_path
    thing.resolve_template_files()
    thing.render_template_fields({"ds": "2024-01-01"})
    assert thing.a == "select '2024-01-01'"
    assert thing.b == ["select '2024-01-01'", "plain"]


def test_a_missing_template_file_is_logged_and_the_name_stays(tmp_path, caplog):
    thing = Thing("nope.sql")
    thing.folder = tmp_path
    thing.resolve_template_files()
    assert thing.a == "nope.sql"
    assert "nope.sql cannot be read" in caplog.text


def test_context_keys_are_worked_out_only_when_a_template_names_them():
    asked = []
    context = Context(x=1)
    context.lazy("dear", lambda: asked.append("dear") or "value")
    assert render_text("{{ x }}", context, make_environment()) == "1"
    assert asked == []
    assert render_text("{{ dear }} {{ dear }}", context, make_environment()) == "value value"
    assert asked == ["dear"]


def test_unpacking_a_context_gives_real_values():
    context = Context()
    context.lazy("k", lambda: 7)
    assert dict(context) == {"k": 7} == {**context}
    assert (lambda **kwargs: kwargs["k"])(**context) == 7


def test_an_error_says_which_field_of_which_task():
    with pytest.raises(jinja2.UndefinedError) as caught:
        Thing("fine", "{{ nope }}").render_template_fields({})
    assert "while rendering the template field 'b' of Thing" in caught.value.__notes__[0]


def test_empty_text_stays_text_in_a_native_environment():
    assert native("") == ""
