"""`@task` and its kinds: arguments, ids, results, overrides, conditions, setup and teardown marks."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest

from trackside.sdk import DAG, Asset, setup, task, teardown
from trackside.sdk.exceptions import AirflowSkipException
from trackside.sdk.operators.empty import EmptyOperator
from trackside.sdk.serialization import to_spec
from trackside.sdk.xcom_arg import PlainXComArg


@pytest.fixture
def d():
    with DAG("d") as found:
        yield found


def tasks(d):
    return {t.task_id: t for t in to_spec(d).tasks}


def test_calling_a_task_function_makes_a_task_and_returns_its_result(d):
    @task
    def make():
        """What it makes."""
        return 1

    out = make()
    assert isinstance(out, PlainXComArg)
    stored = tasks(d)["make"]
    assert (stored.operator, stored.class_name, stored.module) == (
        "@task",
        "_PythonDecoratedOperator",
        "airflow.providers.standard.decorators.python",
    )
    assert stored.doc_md == "What it makes."
    assert set(stored.template_fields) == {"templates_dict", "op_args", "op_kwargs"}


def test_results_as_arguments_draw_edges_and_are_shown_as_references(d):
    @task
    def make():
        return [1]

    @task
    def use(one, many, **rest):
        return one

    m = make()
    use(m, {"k": [m["x"]]}, z=make())
    found = tasks(d)
    assert found["make"].downstream == ["use"]
    assert found["make__1"].downstream == ["use"]
    assert found["use"].attributes["op_args"][0] == {"__xcom__": {"kind": "plain", "task_id": "make", "key": "return_value"}}


def test_calls_of_the_same_function_count_up(d):
    @task
    def rep(x=0):
        return x

    rep(), rep(1), rep.override(task_id="named")(2), rep.override(task_id="named")(3), rep(4)
    assert list(tasks(d)) == ["rep", "rep__1", "named", "named__1", "rep__2"]


def test_counting_up_avoids_ids_that_are_taken(d):
    EmptyOperator(task_id="rep__1")

    @task
    def rep():
        return 0

    rep(), rep()
    assert list(tasks(d)) == ["rep__1", "rep", "rep__2"]


def test_override_leaves_the_function_as_it_was(d):
    @task(retries=1)
    def work():
        return 1

    other = work.override(retries=5, pool="p")
    work(), other()
    found = tasks(d)
    assert (found["work"].retries, found["work"].pool) == (1, "default_pool")
    assert (found["work__1"].retries, found["work__1"].pool) == (5, "p")


class Row(TypedDict):
    a: int


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        *[(mapping, True) for mapping in (dict, dict[str, int], "dict", Row)],
        *[(other, False) for other in (list, int, None, Any, "Missing")],
    ],
)
def test_a_mapping_as_return_annotation_means_multiple_outputs(d, annotation, expected):
    def make():
        return {}

    make.__annotations__["return"] = annotation
    task(make)()
    assert tasks(d)["make"].multiple_outputs is expected


def test_multiple_outputs_can_be_said(d):
    @task(multiple_outputs=False)
    def make() -> dict:
        return {}

    make()
    assert tasks(d)["make"].multiple_outputs is False


def test_wrong_calls_are_refused_like_those_of_a_function(d):
    @task
    def work(a, b=1):
        return a

    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        work()
    with pytest.raises(TypeError, match="unexpected keyword argument 'c'"):
        work(1, c=2)
    with pytest.raises(TypeError, match="too many positional"):
        work(1, 2, 3)


def test_context_keys_need_not_be_given_and_may_only_default_to_none(d):
    @task
    def work(x, ds, ti=None, *, outlet_events):
        return x

    work(1)
    with pytest.raises(ValueError, match="ti can't have a default other than None"):

        @task
        def wrong(ti=1):
            return ti


def test_methods_and_texts_are_refused(d):
    with pytest.raises(TypeError, match="methods"):

        @task
        def work(self):
            return 1

    with pytest.raises(TypeError, match="task_id='name'"):
        task("name")


def test_edges_from_an_uncalled_function_say_what_is_missing(d):
    @task
    def work():
        return 1

    with pytest.raises(TypeError, match=r"write work\(\) instead of work"):
        work >> EmptyOperator(task_id="e")
    with pytest.raises(TypeError, match=r"call it first: work\(\)"):
        EmptyOperator(task_id="f").set_downstream(work)


def test_a_result_cannot_be_iterated_or_indexed_by_number(d):
    @task
    def make():
        return [1, 2]

    out = make()
    with pytest.raises(TypeError, match="not iterable"):
        list(out)
    with pytest.raises(ValueError, match="only supports str lookup"):
        out[0]


def test_assets_as_arguments_are_inlets(d):
    @task
    def read(a, many):
        return 1

    read(Asset("one"), [Asset("two"), 3])
    assert [a["name"] for a in tasks(d)["read"].inlets] == ["one", "two"]


def test_kinds_come_with_their_marks(d):
    @task.branch
    def pick():
        return "x"

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def gate():
        return True

    @task.bash(env={"A": "1"})
    def shell():
        return "echo"

    pick(), gate(), shell()
    found = tasks(d)
    assert (found["pick"].skips, found["pick"].operator) == ("branch", "@task.branch")
    assert (found["gate"].skips, found["gate"].ignore_downstream_trigger_rules) == ("short_circuit", False)
    assert found["shell"].attributes["env"] == {"A": "1"}
    assert found["shell"].skips is None


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(AttributeError, match=r"'nonsense' not found; known are .*bash"):
        getattr(task, "nonsense")  # noqa: B009  # looking it up is the point


def test_setup_and_teardown_mark_and_the_rule_follows(d):
    @setup
    def up():
        return 1

    @teardown(on_failure_fail_dagrun=True)
    def down():
        return 2

    u, w = up(), down()
    u >> w
    found = tasks(d)
    assert found["up"].is_setup and not found["up"].is_teardown
    assert found["down"].is_teardown and found["down"].on_failure_fail_dagrun
    assert found["down"].trigger_rule == "all_done_setup_success"


def test_setup_and_teardown_go_over_task_too(d):
    @teardown
    @task(retries=3)
    def down():
        return 2

    down()
    assert (tasks(d)["down"].retries, tasks(d)["down"].is_teardown) == (3, True)
    with pytest.raises(ValueError, match="not configurable"):
        teardown(task(trigger_rule="all_done")(lambda: 1))()
    with pytest.raises(ValueError, match="both"):
        setup(teardown(task(lambda: 1)))


def test_conditions_skip_in_the_worker_and_keep_earlier_hooks():
    called = []

    @task.run_if(lambda context: (context["go"], "not today"))
    @task(pre_execute=called.append)
    def work():
        return 1

    with DAG("d"):
        operator = work().operator
    hook = operator._pre_execute_hook
    hook({"go": True, "task": operator})
    assert len(called) == 1
    with pytest.raises(AirflowSkipException, match="not today"):
        hook({"go": False, "task": operator})

    @task.skip_if(lambda context: context["bad"], skip_message="bad day")
    @task
    def other():
        return 1

    with DAG("d"):
        operator = other().operator
    operator._pre_execute_hook({"bad": False, "task": operator})
    with pytest.raises(AirflowSkipException, match="bad day"):
        operator._pre_execute_hook({"bad": True, "task": operator})


def test_conditions_are_for_tasks_only():
    with pytest.raises(TypeError, match="above @task"):
        task.run_if(lambda context: True)(lambda: 1)


def test_the_source_of_the_function_is_without_decorators(d):
    @task(retries=1)
    def work():
        return 1

    assert work().operator.get_python_source() == "def work():\n    return 1\n"
