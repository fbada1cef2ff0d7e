"""Params: defaults, schemas, formats, merging with the conf of a run, and the checks of a scheduled DAG."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from trackside.sdk import DAG, Param, ParamsDict
from trackside.sdk.exceptions import ParamValidationError
from trackside.sdk.operators.empty import EmptyOperator
from trackside.sdk.param import merge_conf


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, 5, 10),
        ({"type": "string", "minLength": 2, "pattern": "^[a-z]+$"}, "abc", "A"),
        ({"enum": ["red", 3]}, 3, "blue"),
        ({"type": ["null", "string"]}, None, 5),
        ({"type": "array", "items": {"type": "integer"}}, [1], ["x"]),
        ({"type": "string", "format": "date"}, "2024-02-29", "2024-02-30"),
        ({"type": "string", "format": "date-time"}, "2024-02-29T01:02:03Z", "yesterday"),
        ({"type": "string", "format": "time"}, "01:02:03", "25:00"),
        ({"type": "string", "format": "duration"}, "P1DT2H", "2 hours"),
        ({"type": "string", "format": "email"}, "a@b", "nobody"),
        ({"const": 4}, 4, 5),
    ],
)
def test_values_are_checked_against_the_schema(schema, good, bad):
    assert Param(good, **schema).resolve() == good
    with pytest.raises(ParamValidationError):
        Param(good, **schema).resolve(bad)
    assert Param(good, **schema).resolve(bad, suppress_exception=True) is None


def test_a_param_without_default_must_be_given():
    param = Param(type="string")
    with pytest.raises(ParamValidationError, match="no default value"):
        param.resolve()
    assert param.resolve("x") == "x"


def test_values_are_json():
    with pytest.raises(ParamValidationError, match="json-serializable"):
        Param(object())


def test_reading_gives_values_and_writing_checks_them():
    params = ParamsDict({"n": Param(5, type="integer"), "plain": "x"})
    assert (params["n"], dict(params.dump())) == (5, {"n": 5, "plain": "x"})
    params["n"] = 6
    with pytest.raises(ParamValidationError, match="Invalid input for param n"):
        params["n"] = "six"
    params["new"] = 1
    assert (set(params), "new" in params, len(params)) == ({"n", "plain", "new"}, True, 3)
    assert params.get_param("n").schema == {"type": "integer"}


def test_params_given_to_two_dags_are_not_shared():
    shared = Param(1)
    one, two = DAG("one", params={"p": shared}), DAG("two", params={"p": shared})
    one.params["p"] = 2
    assert (two.params["p"], shared.value) == (1, 1)


def test_conf_overrides_and_nested_dicts_merge():
    stored = ParamsDict({"o": Param({"a": 1, "b": {"c": 2}}, type="object"), "n": Param(1, type="integer")}).to_spec()
    assert merge_conf(stored, {"o": {"b": {"d": 3}}, "more": "x"}) == {"o": {"a": 1, "b": {"c": 2, "d": 3}}, "n": 1, "more": "x"}
    with pytest.raises(ParamValidationError, match="param n"):
        merge_conf(stored, {"n": "x"})
    with pytest.raises(ParamValidationError, match="param must"):
        merge_conf(ParamsDict({"must": Param(type="string")}).to_spec(), {})


def test_the_stored_form_comes_back_the_same():
    params = ParamsDict({"n": Param(5, "why", type="integer"), "must": Param(type="string"), "none": None})
    params.mark("dag")
    assert ParamsDict.from_spec(params.to_spec()).to_spec() == params.to_spec()
    assert "value" not in params.to_spec()["must"]


def test_a_scheduled_dag_needs_a_valid_value_for_every_param():
    DAG("d", params={"must": Param(type="string")}).validate()
    for params in ({"must": Param(type="string")}, {"n": Param("x", type="integer")}):
        dag = DAG("d", schedule="@daily", params=params)
        with pytest.raises(ValueError, match=r"'d' is not allowed to define a Schedule"):
            dag.validate()


def test_a_dag_param_is_conf_then_its_default_then_the_param():
    with DAG("d", params={"a": 1}) as dag:
        EmptyOperator(task_id="t")
        given, plain = dag.param("b", 7), dag.param("a")
    assert dag.params["b"] == 7

    def context(conf):
        return {"dag_run": SimpleNamespace(conf=conf), "params": {"a": 1, "b": 2}}

    assert given.resolve(context({"b": 9})) == 9
    assert given.resolve(context({})) == 7
    assert plain.resolve(context({})) == 1
    with pytest.raises(ParamValidationError, match="missing"):
        dag.param("missing").resolve(context({}))
