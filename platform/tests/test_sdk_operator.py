"""Every argument of a task, default arguments from above, and what is refused."""

from __future__ import annotations

import datetime as dt

import pytest

from trackside.sdk import DAG, Asset, BaseOperator, BaseOperatorLink, Param, TaskGroup
from trackside.sdk.exceptions import TaskDeferred
from trackside.sdk.operators.bash import BashOperator
from trackside.sdk.operators.empty import EmptyOperator
from trackside.sdk.serialization import to_spec


class Op(BaseOperator):
    template_fields = ("text",)
    template_fields_renderers = {"text": "md"}
    ui_color = "#abc"

    def __init__(self, *, text="", size=1, **kwargs):
        super().__init__(**kwargs)
        self.text, self.size = text, size


def one(cls=Op, dag_args=None, **kwargs):
    with DAG("d", **(dag_args or {})) as d:
        cls(task_id="t", **kwargs)
    return to_spec(d).tasks[0]


def test_a_bare_task_has_the_documented_defaults():
    t = one()
    assert (t.owner, t.retries, t.retry_delay, t.pool, t.pool_slots, t.queue) == ("airflow", 0, 300.0, "default_pool", 1, "default")
    assert (t.priority_weight, t.weight_rule, t.trigger_rule) == (1, "downstream", "all_success")
    assert (t.retry_exponential_backoff, t.max_retry_delay, t.execution_timeout, t.has_retry_policy) == (0.0, None, None, False)
    assert (t.do_xcom_push, t.multiple_outputs, t.mapped, t.expand, t.has_work) == (True, False, False, None, True)


@pytest.mark.parametrize(
    ("argument", "value", "stored"),
    [
        ("owner", "ann", "ann"),
        ("retries", 3, 3),
        ("retries", None, 0),
        ("retry_delay", 1.5, 1.5),
        ("retry_delay", dt.timedelta(minutes=1), 60.0),
        ("max_retry_delay", dt.timedelta(hours=1), 3600.0),
        ("retry_exponential_backoff", True, 2.0),
        ("retry_exponential_backoff", 1.5, 1.5),
        ("execution_timeout", dt.timedelta(seconds=9), 9.0),
        ("depends_on_past", True, True),
        ("ignore_first_depends_on_past", True, True),
        ("wait_for_past_depends_before_skipping", True, True),
        ("priority_weight", 7, 7),
        ("priority_weight", 2**40, 2**31 - 1),
        ("weight_rule", "upstream", "upstream"),
        ("queue", "q", "q"),
        ("pool", "p", "p"),
        ("pool_slots", 2, 2),
        ("trigger_rule", "none_failed_min_one_success", "none_failed_min_one_success"),
        ("executor", "celery", "celery"),
        ("executor_config", {"a": {1, 2}}, {"a": [1, 2]}),
        ("max_active_tis_per_dag", 4, 4),
        ("max_active_tis_per_dagrun", 5, 5),
        ("do_xcom_push", False, False),
        ("multiple_outputs", True, True),
        ("map_index_template", "{{ x }}", "{{ x }}"),
        ("task_display_name", "Shown", "Shown"),
        ("doc", "a", "a"),
        ("doc_md", "b", "b"),
        ("doc_rst", "c", "c"),
        ("doc_json", "d", "d"),
        ("doc_yaml", "e", "e"),
        ("render_template_as_native_obj", True, True),
        ("on_retry_callback", print, None),
    ],
)
def test_each_argument_reaches_the_stored_form(argument, value, stored):
    t = one(**{argument: value})
    if argument.endswith("_callback"):
        assert t.callbacks == [argument]
    else:
        assert getattr(t, argument) == stored


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"retries": "many"}, TypeError, "retries"),
        ({"retry_delay": "soon"}, TypeError, "retry_delay"),
        ({"execution_timeout": 5}, ValueError, r"write timedelta\(seconds=5\)"),
        ({"pool_slots": 0}, ValueError, "at least 1"),
        ({"trigger_rule": "sometimes"}, ValueError, "use one of: .*all_done"),
        ({"weight_rule": "heavy"}, ValueError, "use one of: .*absolute"),
        ({"priority_weight": "high"}, TypeError, "integers"),
        ({"owner": 5}, TypeError, "owner"),
        ({"on_failure_callback": "note"}, TypeError, "without quotes"),
        ({"params": [1]}, TypeError, "params"),
        ({"resources": {"cups": 1}}, TypeError, "known are cpus"),
        ({"start_date": 5}, TypeError, "start_date"),
    ],
)
def test_wrong_values_are_refused_saying_what_to_write(kwargs, error, words):
    with pytest.raises(error, match=words):
        one(**kwargs)


def test_waiting_for_downstream_means_depending_on_the_past():
    t = one(wait_for_downstream=True)
    assert t.wait_for_downstream and t.depends_on_past


def test_unknown_arguments_are_listed_and_secrets_among_them_hidden():
    with pytest.raises(TypeError, match=r"(?s)passed to Op \(task_id: t\).*wrong=1.*password=\*\*\*"):
        Op(task_id="t", wrong=1, password="hunter22")
    with pytest.raises(TypeError, match="instead of task_concurrency write max_active_tis_per_dag"):
        Op(task_id="t", task_concurrency=1)


def test_positional_and_missing_arguments_are_refused():
    with pytest.raises(TypeError, match="Use keyword arguments"):
        BashOperator("t")
    with pytest.raises(TypeError, match="missing keyword argument 'bash_command'"):
        BashOperator(task_id="t")
    with pytest.raises(TypeError, match="missing keyword argument 'task_id'"):
        Op()


@pytest.mark.parametrize("bad", ["a b", "", "a..b", "x" * 251])
def test_a_task_id_that_cannot_be_linked_to_is_refused(bad):
    with pytest.raises(ValueError, match="task_id"):
        Op(task_id=bad)


def test_default_arguments_reach_every_constructor_of_the_family_and_nothing_else():
    class Derived(Op):
        def __init__(self, *, extra, **kwargs):
            super().__init__(**kwargs)
            self.extra = extra

    with DAG("d", default_args={"size": 4, "extra": "e", "retries": 2, "bash_command": "not for these"}):
        t = Derived(task_id="t", text="own")
        u = Derived(task_id="u", size=5, default_args={"retries": 9, "extra": "f"})
    assert (t.size, t.extra, t.retries, t.text) == (4, "e", 2, "own")
    assert (u.size, u.extra, u.retries) == (5, "f", 9)


def test_groups_override_the_dag_and_the_call_overrides_groups():
    with (
        DAG("d", default_args={"owner": "dag", "retries": 1, "queue": "dag"}),
        TaskGroup("g", default_args={"owner": "outer", "retries": 2}),
        TaskGroup("h", default_args={"owner": "inner"}),
    ):
        t = Op(task_id="t")
        u = Op(task_id="u", owner="call")
    assert (t.owner, t.retries, t.queue) == ("inner", 2, "dag")
    assert u.owner == "call"


def test_params_of_dag_group_and_task_add_up():
    with DAG("d", params={"a": Param(1, type="integer"), "b": 2}) as d:
        Op(task_id="t", params={"b": 3, "c": Param("x")})
    found = to_spec(d).tasks[0].params
    assert {k: v["value"] for k, v in found.items()} == {"a": 1, "b": 3, "c": "x"}
    assert found["a"]["source"] == "dag"
    assert to_spec(d).params["b"]["value"] == 2


def test_results_of_other_tasks_in_template_fields_draw_edges_wherever_they_are_nested():
    with DAG("d"):
        a, b, c = Op(task_id="a"), Op(task_id="b"), Op(task_id="c")
        t = Op(task_id="t", text={"x": [a.output, (b.output["key"],)]})
        t.text = c.output
    assert t.upstream_task_ids == {"a", "b", "c"}


def test_a_result_as_text_is_a_template():
    with DAG("d"):
        a = Op(task_id="a")
    assert str(a.output["k"]) == "{{ task_instance.xcom_pull(task_ids='a', dag_id='d', key='k') }}"


def test_template_fields_without_a_comma_are_refused():
    class Wrong(BaseOperator):
        template_fields = "sql"

    with pytest.raises(TypeError, match=r"write a tuple with a comma: \('sql',\)"):
        Wrong(task_id="t")


def test_class_attributes_and_values_reach_the_stored_form():
    class Link(BaseOperatorLink):
        name = "See it"

        def get_link(self, operator, *, ti_key):
            return "https://example.com"

    class Linked(Op):
        operator_extra_links = (Link(),)

    t = one(Linked, text="a {{ ds }}", size=3)
    assert (t.template_fields, t.template_fields_renderers, t.ui_color, t.extra_links) == (["text"], {"text": "md"}, "#abc", ["See it"])
    assert t.attributes == {"text": "a {{ ds }}", "size": 3}
    assert (t.operator, t.class_name, t.module) == ("Linked", "Linked", __name__)


def test_secrets_among_the_values_are_hidden():
    class Login(Op):
        def __init__(self, *, password, **kwargs):
            super().__init__(**kwargs)
            self.password = password

    assert one(Login, password="hunter22").attributes["password"] == "***"


def test_own_operators_are_shown_under_the_name_they_are_imported_by():
    t = one(BashOperator, bash_command="x")
    assert (t.module, t.class_name) == ("airflow.providers.standard.operators.bash", "BashOperator")


@pytest.mark.parametrize(
    ("kwargs", "work"),
    [
        ({}, False),
        ({"on_failure_callback": print}, False),
        ({"on_success_callback": print}, True),
        ({"on_execute_callback": print}, True),
        ({"outlets": [Asset("a")]}, True),
        ({"inlets": [Asset("a")]}, True),
    ],
)
def test_an_empty_task_has_work_only_for_its_callbacks_and_assets(kwargs, work):
    assert one(EmptyOperator, **kwargs).has_work is work


def test_assets_can_be_hung_on_with_arrows():
    with DAG("d") as d:
        t = Op(task_id="t")
        t > Asset("out")  # noqa: B015  # the arrow is the point
        t < [Asset("in")]  # noqa: B015
    stored = to_spec(d).tasks[0]
    assert [a["name"] for a in stored.outlets] == ["out"]
    assert [a["name"] for a in stored.inlets] == ["in"]


def test_deferring_ends_the_method_with_what_the_trigger_needs():
    t = Op(task_id="t")
    with pytest.raises(TaskDeferred) as caught:
        t.defer(trigger="T", method_name="go_on", kwargs={"n": 1}, timeout=dt.timedelta(seconds=3))
    assert (caught.value.method_name, caught.value.kwargs, caught.value.timeout) == ("go_on", {"n": 1}, dt.timedelta(seconds=3))


def test_a_task_without_a_dag_joins_that_of_its_neighbour():
    d = DAG("d")
    a = Op(task_id="a", dag=d)
    b = Op(task_id="b")
    a >> b
    assert b.dag is d
    with pytest.raises(RuntimeError, match="more than one Dag: d, e"):
        Op(task_id="x", dag=DAG("e")) >> a
    with pytest.raises(RuntimeError, match="don't have Dags yet"):
        Op(task_id="x") >> Op(task_id="y")
