"""Edges: arrows, lists, chains, labels; groups and their ids; setup and teardown blocks."""

from __future__ import annotations

import pytest

from trackside.core.graph import Graph
from trackside.sdk import DAG, Label, TaskGroup, chain, chain_linear, cross_downstream, setup, task, task_group, teardown
from trackside.sdk.exceptions import DuplicateTaskIdFound
from trackside.sdk.operators.empty import EmptyOperator
from trackside.sdk.serialization import to_spec


@pytest.fixture
def d():
    with DAG("d") as found:
        yield found


def e(task_id, **kwargs):
    return EmptyOperator(task_id=task_id, **kwargs)


def edges(d):
    return {t.task_id: t.downstream for t in to_spec(d).tasks if t.downstream}


def test_arrows_return_their_right_side_in_both_directions(d):
    a, b, c, x = map(e, "abcx")
    assert a >> b >> c is c
    assert c << x is x
    assert edges(d) == {"a": ["b"], "b": ["c"], "x": ["c"]}


def test_lists_stand_on_either_side(d):
    a, b, c, x = map(e, "abcx")
    [a, b] >> c
    [x] << c
    a >> [b, x]
    assert edges(d) == {"a": ["b", "c", "x"], "b": ["c"], "c": ["x"]}


def test_drawing_an_edge_twice_is_one_edge(d):
    a, b = e("a"), e("b")
    a >> b
    b.set_upstream([a, a])
    assert edges(d) == {"a": ["b"]}


def test_chain_pairs_lists_of_the_same_length(d):
    a, b, c, x, y, z = map(e, "abcxyz")
    chain(a, [b, c], [x, y], z)
    assert edges(d) == {"a": ["b", "c"], "b": ["x"], "c": ["y"], "x": ["z"], "y": ["z"]}
    with pytest.raises(ValueError, match="use chain_linear"):
        chain([a, b], [c])


def test_chain_linear_connects_everything_with_everything_next_to_it(d):
    a, b, c, x, y = map(e, "abcxy")
    chain_linear(a, [b, c], [], [x, y])
    assert edges(d) == {"a": ["b", "c"], "b": ["x", "y"], "c": ["x", "y"]}
    with pytest.raises(ValueError, match="No dependencies were set"):
        chain_linear(a)
    with pytest.raises(ValueError, match="Labels are not supported"):
        chain_linear(a, Label("l"), b)


def test_cross_downstream_is_all_to_all(d):
    a, b, c, x = map(e, "abcx")
    cross_downstream([a, b], [c, x])
    assert edges(d) == {"a": ["c", "x"], "b": ["c", "x"]}


def test_labels_belong_to_edges(d):
    a, b, c = map(e, "abc")
    a >> Label("one") >> [b, c]
    [b, c] >> Label("two") >> e("x")
    chain(a, Label("three"), e("y"))
    assert to_spec(d).edge_labels == [["a", "b", "one"], ["a", "c", "one"], ["a", "y", "three"], ["b", "x", "two"], ["c", "x", "two"]]
    assert d.get_edge_info("a", "b") == {"label": "one"}


def test_labels_against_the_arrow_work_too(d):
    a, b = e("a"), e("b")
    b << Label("back") << a
    assert to_spec(d).edge_labels == [["a", "b", "back"]]


def test_labels_between_groups_are_stored_for_the_groups_and_their_tasks(d):
    with TaskGroup("g") as g:
        e("x")
    with TaskGroup("h") as h:
        e("y")
    g >> Label("l") >> h
    assert to_spec(d).edge_labels == [["g", "h", "l"], ["g.x", "h.y", "l"]]


def test_what_cannot_have_dependencies_is_refused(d):
    with pytest.raises(TypeError, match="received str"):
        e("a") >> "b"
    with pytest.raises(TypeError, match="received NoneType"):
        e("b") >> [None]


# Groups


def test_ids_get_the_prefixes_of_their_groups_unless_told_not_to(d):
    with TaskGroup("outer", tooltip="tip", ui_color="red", doc_md="docs") as outer:
        e("a")
        with TaskGroup("plain", prefix_group_id=False):
            e("b")
        with TaskGroup("deep", group_display_name="Deep down") as deep:
            e("c")
    s = to_spec(d)
    assert [t.task_id for t in s.tasks] == ["outer.a", "b", "outer.deep.c"]
    groups = {g.group_id: g for g in s.groups}
    assert list(groups) == ["outer", "outer.plain", "outer.deep"]
    assert (groups["outer"].children, groups["outer"].parent_id) == (["outer.a", "outer.plain", "outer.deep"], None)
    assert (groups["outer.deep"].parent_id, groups["outer.deep"].label) == ("outer", "Deep down")
    assert (groups["outer"].tooltip, groups["outer"].ui_color, groups["outer"].doc_md) == ("tip", "red", "docs")
    assert s.root_children == ["outer"]
    assert {t.task_id: t.group_id for t in s.tasks}["b"] == "outer.plain"
    assert d["outer.deep"] is deep
    assert deep["c"] if hasattr(deep, "__getitem__") else deep.get_child_by_label("c").label == "c"
    assert outer.has_task(d.get_task("outer.deep.c"))


@pytest.mark.parametrize("bad", ["", "a b", "a.b", "ä", None])
def test_group_ids_are_plain_ascii(d, bad):
    with pytest.raises((ValueError, TypeError), match="group_id"):
        TaskGroup(bad)


def test_ids_of_tasks_and_groups_must_not_collide(d):
    e("x")
    with pytest.raises(DuplicateTaskIdFound, match="group_id 'x'"):
        TaskGroup("x")
    with TaskGroup("g"):
        e("t")
    with pytest.raises(DuplicateTaskIdFound, match="is the id of a task group"):
        e("g")
    with pytest.raises(DuplicateTaskIdFound, match=r"'g\.t'"), TaskGroup("h"):
        EmptyOperator(task_id="t", task_group=d["g"])


def test_a_group_asked_to_takes_a_suffix(d):
    for _ in range(3):
        with TaskGroup("g", add_suffix_on_collision=True):
            e("t")
    assert [g.group_id for g in to_spec(d).groups] == ["g", "g__1", "g__2"]


def test_a_group_needs_a_dag():
    with pytest.raises(RuntimeError, match="inside a dag"):
        TaskGroup("g")


def test_relations_of_a_group_are_those_of_its_first_and_last_tasks(d):
    start = e("start")
    with TaskGroup("g") as g:
        [e("a"), e("b")] >> e("c")
    start >> g >> e("end")
    assert edges(d) == {"start": ["g.a", "g.b"], "g.a": ["g.c"], "g.b": ["g.c"], "g.c": ["end"]}


def test_a_teardown_at_the_end_of_a_group_is_passed_over(d):
    with TaskGroup("g") as g:
        s = e("s").as_setup()
        w = e("w")
        t = e("t").as_teardown(setups=s)
        s >> w >> t
    g >> e("after")
    assert edges(d)["g.w"] == ["after", "g.t"]
    assert "g.t" not in edges(d)


def test_a_group_function_is_a_group_with_the_docstring_as_tooltip_and_its_result_stands_for_it(d):
    @task
    def make():
        return 1

    @task_group(ui_color="blue")
    def work(x):
        """Does the work."""
        return make.override(task_id="inner")()

    @task_group
    def nothing():
        e("t")

    out = work(1)
    out >> nothing()
    work(2)
    s = to_spec(d)
    assert [g.group_id for g in s.groups] == ["work", "nothing", "work__1"]
    assert (s.groups[0].tooltip, s.groups[0].ui_color) == ("Does the work.", "blue")
    assert edges(d) == {"work.inner": ["nothing.t"]}


def test_a_group_function_can_be_overridden(d):
    @task_group
    def work():
        e("t")

    work.override(group_id="other", tooltip="tip")()
    assert [(g.group_id, g.tooltip) for g in to_spec(d).groups] == [("other", "tip")]


def test_tasks_are_stored_after_what_they_wait_for_and_groups_stay_together(d):
    end = e("end")
    with TaskGroup("g") as g:
        e("g2") << e("g1")
    start = e("start")
    chain(start, g, end)
    s = to_spec(d)
    assert [t.task_id for t in s.tasks] == ["start", "g.g1", "g.g2", "end"]
    assert s.root_children == ["start", "g", "end"]
    assert [t.task_id for t in d.topological_sort()] == ["start", "g.g1", "g.g2", "end"]
    assert Graph(s).order[0] == "start"


def test_groups_that_wait_for_each_other_through_their_tasks_are_no_circle(d):
    with TaskGroup("a"):
        x, z = e("x"), e("z")
    with TaskGroup("b"):
        y = e("y")
    x >> y >> z
    d.validate()
    assert sorted(t.task_id for t in to_spec(d).tasks) == ["a.x", "a.z", "b.y"]


# Setup and teardown


def test_as_teardown_with_setups_marks_both_and_connects_them(d):
    s = e("s")
    t = e("t").as_teardown(setups=s, on_failure_fail_dagrun=True)
    assert s.is_setup and t.is_teardown and t.on_failure_fail_dagrun
    assert t.trigger_rule == "all_done_setup_success"
    assert edges(d) == {"s": ["t"]}
    with pytest.raises(ValueError, match="both"):
        s.as_teardown()
    with pytest.raises(ValueError, match="both"):
        t.as_setup()


def test_a_block_ties_the_work_between_setup_and_teardown(d):
    s = e("s").as_setup()
    t = e("t").as_teardown(setups=s)
    with t:
        e("a") >> e("b")
        e("c")
    assert edges(d) == {"s": ["a", "c", "t"], "a": ["b"], "b": ["t"], "c": ["t"]}


def test_blocks_of_results_work_the_same(d):
    @setup
    def up():
        return 1

    @teardown
    def down(u):
        return 2

    @task
    def work():
        return 3

    with down(up()):
        work()
    assert edges(d) == {"up": ["down", "work"], "work": ["down"]}


def test_a_block_over_ordinary_tasks_is_refused(d):
    with pytest.raises(ValueError, match="Only setup/teardown tasks"), e("a"):
        pass


def test_an_arrow_through_an_empty_group_connects_what_stands_around_it(d):
    empty = TaskGroup("empty")
    e("before") >> empty >> e("after")
    assert edges(d) == {"before": ["after"]}


def test_groups_may_be_nested_hundreds_deep(d):
    """An id is one step per level: with two it took longer than anybody waits, from a depth of thirty on."""
    group = None
    for depth in range(500):
        group = TaskGroup(f"g{depth}", parent_group=group)
    with group:
        deepest = e("deepest")
    assert deepest.task_id == ".".join([*(f"g{depth}" for depth in range(500)), "deepest"])
    assert len(to_spec(d).groups) == 500 and [t.task_id for t in group] == [deepest.task_id]
