"""Mapped tasks and groups: their stored form, what is refused, and which arguments each index gets."""

from __future__ import annotations

import gc
import warnings
from types import SimpleNamespace

import pytest

from trackside.sdk import DAG, task, task_group
from trackside.sdk.enums import TriggerRule
from trackside.sdk.exceptions import AirflowSkipException
from trackside.sdk.operators.bash import BashOperator
from trackside.sdk.operators.empty import EmptyOperator
from trackside.sdk.serialization import to_spec
from trackside.sdk.xcom_values import Concatenated, Mapped, Zipped


@pytest.fixture
def d():
    with DAG("d", default_args={"owner": "ann", "cwd": "/tmp"}) as found:
        yield found


def tasks(d):
    return {t.task_id: t for t in to_spec(d).tasks}


def at(index, values=None):
    """A context of one map index in which results of other tasks are given."""

    def xcom_pull(task_ids, key, default, **kwargs):
        return (values or {}).get(task_ids, default)

    return {"ti": SimpleNamespace(map_index=index, xcom_pull=xcom_pull, dag_id="d")}


@task
def use(x=None, y=None, **rest):
    return x


@task
def make():
    return []


REF = {"__xcom__": {"kind": "plain", "task_id": "make", "key": "return_value"}}


def test_a_mapped_operator_keeps_shared_arguments_and_stores_what_it_is_mapped_over(d):
    BashOperator.partial(task_id="sh", retries=2, map_index_template="{{ x }}").expand(bash_command=["echo a", "echo b"])
    t = tasks(d)["sh"]
    assert t.mapped
    assert t.expand == {"kind": "dict", "value": {"bash_command": ["echo a", "echo b"]}}
    assert (t.retries, t.owner, t.map_index_template, t.operator) == (2, "ann", "{{ x }}", "BashOperator")
    assert t.attributes == {"cwd": "/tmp"}


def test_results_are_stored_as_references_and_draw_edges(d):
    made = make()
    use.expand(x=made, y=[1, 2])
    BashOperator.partial(task_id="sh", env=made).expand_kwargs(made)
    found = tasks(d)
    assert found["use"].expand == {"kind": "dict", "value": {"x": REF, "y": [1, 2]}}
    assert found["sh"].expand == {"kind": "expand_kwargs", "value": REF}
    assert found["make"].downstream == ["sh", "use"]


def test_combined_results_are_stored_as_the_server_counts_them(d):
    made, other = make(), make.override(task_id="other")()
    use.expand(x=made.zip(other, fillvalue="-"))
    use.expand(x=made.map(str).map(len))
    use.expand(x=made.concat(other))
    found = tasks(d)
    ref2 = {"__xcom__": {"kind": "plain", "task_id": "other", "key": "return_value"}}
    assert found["use"].expand["value"]["x"] == {"__xcom__": {"kind": "zip", "args": [REF, ref2], "fillvalue": "-"}}
    mapped = found["use__1"].expand["value"]["x"]["__xcom__"]
    assert (mapped["kind"], mapped["args"], len(mapped["callables"])) == ("map", [REF], 2)
    assert found["use__2"].expand["value"]["x"] == {"__xcom__": {"kind": "concat", "args": [REF, ref2]}}
    assert found["other"].downstream == ["use", "use__2"]


def test_long_literals_are_stored_by_their_length(d):
    use.expand(x=["x" * 100] * 1000)
    assert tasks(d)["use"].expand["value"]["x"] == {"__literal_length__": 1000}


def test_the_result_of_a_mapped_task_can_be_used_like_any_other(d):
    use.override(task_id="sum")(use.expand(x=[1]))
    assert tasks(d)["use"].downstream == ["sum"]


def test_marks_and_edges_work_on_mapped_tasks(d):
    up = EmptyOperator(task_id="up").as_setup()
    mapped = EmptyOperator.partial(task_id="m").expand_kwargs([{"params": {"a": 1}}]).as_teardown(setups=up)
    t = tasks(d)["m"]
    assert (t.is_teardown, t.trigger_rule, t.mapped) == (True, "all_done_setup_success", True)
    assert mapped.upstream_task_ids == {"up"}


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: use.expand(), TypeError, "no arguments"),
        (lambda: use.expand(x=5), ValueError, "unexpected type 'int'"),
        (lambda: use.expand(x="abc"), ValueError, "unexpected type 'str'"),
        (lambda: use.partial(x=1).expand(x=[2]), TypeError, "mapping already partial argument: x"),
        (lambda: use.partial(x=1).partial(x=2), TypeError, "duplicate partial argument: x"),
        (lambda: use.expand(ti=[1]), ValueError, "context key ti"),
        (lambda: make.expand(z=[1]), TypeError, "unexpected keyword argument 'z'"),
        (lambda: make.partial(z=1), TypeError, "unexpected keyword argument 'z'"),
        (lambda: use.expand_kwargs("abc"), TypeError, r"expected XComArg or list\[dict\], not str"),
        (lambda: use.expand_kwargs([1]), TypeError, r"not list\[int\]"),
        (lambda: use.expand(x=make()["key"]), ValueError, "custom key 'key'"),
        (lambda: make()["key"].map(str), ValueError, "cannot map against the XCom 'key'"),
        (lambda: make().map(use), ValueError, "not a @task operator"),
        (lambda: use.override(trigger_rule="always").expand(x=make()), ValueError, "'always'"),
        (lambda: BashOperator.partial(bash_command="x"), TypeError, "'task_id'"),
        (lambda: BashOperator.partial(task_id="t", wrong=1), TypeError, "unexpected keyword argument 'wrong'"),
    ],
)
def test_what_airflow_refuses_is_refused(d, call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("name", ["retries", "queue", "owner", "pool_slots", "trigger_rule", "on_failure_callback", "task_id"])
def test_arguments_of_every_task_belong_into_partial(d, name):
    partial = BashOperator.partial(task_id="t", bash_command="x")
    with pytest.raises(TypeError, match=f"unmappable or already specified argument.*{name}"):
        partial.expand(**{name: [1]})
    partial._expand_called = True


def test_what_only_default_arguments_say_may_differ_per_index(d):
    mapped = BashOperator.partial(task_id="t", bash_command="x").expand(cwd=["/a", "/b"])
    assert mapped.unmap_in(at(1)).cwd == "/b"


def test_an_index_overrides_a_shared_argument_only_if_that_is_allowed(d):
    rows = [{"x": 2}]
    with pytest.raises(TypeError, match="mapping already partial"):
        use.partial(x=1).expand_kwargs(rows).operator.unmap_in(at(0))
    assert use.partial(x=1).expand_kwargs(rows, strict=False).operator.unmap_in(at(0)).op_kwargs == {"x": 2}
    made = {"make": rows}
    with pytest.raises(TypeError, match="mapping already partial"):
        use.partial(x=1).expand_kwargs(make()).operator.unmap_in(at(0, made))


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"bash_command": "a", "wrong": 1}, TypeError, "wrong"),
        ({"bash_command": "a", "cwd": "/b"}, TypeError, "unmappable or already specified argument: cwd"),
        ({"bash_command": "a", "retries": 2}, TypeError, "unmappable or already specified argument: retries"),
        ({1: 2}, ValueError, "keys must be str"),
    ],
)
def test_one_index_with_wrong_arguments_fails_alone(d, wrong, error, words):
    mapped = BashOperator.partial(task_id="t", cwd="/a").expand_kwargs([{"bash_command": "x"}, wrong])
    assert to_spec(d).tasks[0].mapped
    assert mapped.unmap_in(at(0)).bash_command == "x"
    with pytest.raises(error, match=words):
        mapped.unmap_in(at(1))


def test_a_partial_that_is_never_expanded_warns(d):
    with warnings.catch_warnings(action="ignore"):
        gc.collect()  # what other tests left behind is not this one's to report
    with pytest.warns(UserWarning, match="Task 't' was never mapped"):
        BashOperator.partial(task_id="t")
        gc.collect()


# Groups


def test_a_mapped_group_is_stored_with_its_input_and_its_tasks_know_it(d):
    @task_group
    def steps(n):
        return use.override(task_id="b")(use.override(task_id="a")(n))

    made = make()
    out = steps.expand(n=made)
    use.override(task_id="after")(out)
    s = to_spec(d)
    found = {t.task_id: t for t in s.tasks}
    assert s.groups[0].mapped and s.groups[0].expand == {"kind": "dict", "value": {"n": REF}}
    assert (found["steps.a"].mapped_group_id, found["steps.b"].mapped_group_id, found["after"].mapped_group_id) == ("steps", "steps", None)
    assert not found["steps.a"].mapped
    assert found["make"].downstream == ["steps.a"]
    assert found["steps.b"].downstream == ["after"]
    d.validate()


def test_every_first_task_of_a_mapped_group_waits_for_its_input(d):
    @task_group
    def steps(n):
        EmptyOperator(task_id="free")

    steps.expand(n=make())
    assert tasks(d)["make"].downstream == ["steps.free"]


def test_mapping_inside_a_mapped_group_is_refused(d):
    @task_group
    def outer(n):
        use.expand(x=[1])

    with pytest.raises(NotImplementedError, match="expand only the group"):
        outer.expand(n=[1])


def test_a_mapped_group_inside_a_mapped_group_is_refused(d):
    @task_group
    def inner(n):
        EmptyOperator(task_id="e")

    @task_group
    def outer(n):
        inner.expand(n=[1])

    with pytest.raises(NotImplementedError, match="inside a mapped task group"):
        outer.expand(n=[1])


def test_starting_at_once_in_a_group_mapped_over_a_result_is_refused(d):
    @task_group
    def steps(n):
        EmptyOperator(task_id="e", trigger_rule=TriggerRule.ALWAYS)

    steps.expand(n=make())
    with pytest.raises(ValueError, match="'always'"):
        d.validate()


# In the task process


def test_the_last_argument_varies_fastest(d):
    mapped = use.expand(x=["a", "b"], y=[1, 2, 3]).operator
    got = [mapped.expand_input.resolve(at(i)) for i in range(6)]
    assert [(g["x"], g["y"]) for g in got] == [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("b", 3)]


def test_dicts_give_pairs_and_results_are_looked_up(d):
    mapped = use.expand(x=make(), y={"k": 1, "l": 2}).operator
    assert mapped.expand_input.resolve(at(3, {"make": [7, 8]})) == {"x": 8, "y": ("l", 2)}


def test_the_operator_of_one_index_has_shared_and_own_arguments_and_its_place_in_the_dag(d):
    made = make()
    mapped = use.override(retries=4).partial(y="shared").expand(x=made).operator
    mapped.set_downstream(EmptyOperator(task_id="after"))
    one = mapped.unmap_in(at(1, {"make": [7, 8]}))
    assert one.op_kwargs == {"y": "shared", "x": 8}
    assert (one.task_id, one.retries, one.owner, one.dag) == ("use", 4, "ann", d)
    assert (one.upstream_task_ids, one.downstream_task_ids) == ({"make"}, {"after"})
    assert "use__1" not in d.task_dict


def test_operators_are_unmapped_with_their_prefix(d):
    from trackside.sdk import TaskGroup

    with TaskGroup("g"):
        mapped = BashOperator.partial(task_id="sh").expand_kwargs([{"bash_command": "a"}, {"bash_command": "b", "env": {"k": "v"}}])
    one = mapped.unmap_in(at(1))
    assert (one.task_id, one.bash_command, one.env, one.cwd) == ("g.sh", "b", {"k": "v"}, "/tmp")


def test_an_argument_of_a_mapped_group_is_that_of_the_index(d):
    @task_group
    def steps(n):
        return use(n)

    operator = steps.expand(n=[10, 20]).operator
    assert operator.op_args[0].resolve(at(1)) == 20


def test_expanding_without_an_index_is_an_error_that_says_so(d):
    mapped = use.expand(x=[1]).operator
    with pytest.raises(RuntimeError, match="without expanding"):
        mapped.expand_input.resolve(at(-1))


def test_combined_values_compute_on_access():
    def odd(n):
        if n % 2 == 0:
            raise AirflowSkipException("even")
        return n * 100

    values = Mapped([1, 2, 3], [odd])
    assert (len(values), values[0], values[-1]) == (3, 100, 300)
    with pytest.raises(AirflowSkipException):
        values[1]
    assert list(Zipped([[1, 2, 3], ["ab", "x"]], fillvalue="-")) == [(1, "ab"), (2, "x"), (3, "-")]
    assert list(Concatenated([[1], {"k": 2}])) == [1, ("k", 2)]
    with pytest.raises(ValueError, match="cannot map over int"):
        Mapped(5, [])
