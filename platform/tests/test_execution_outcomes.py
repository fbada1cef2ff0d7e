"""What a try's end means: exceptions to outcomes, results to XComs, branch decisions, and the line people read."""

from __future__ import annotations

import textwrap
from types import SimpleNamespace

import pytest
from try_harness import harness

from trackside.core.messages import XComRecord
from trackside.sdk.execution.events import AssetEvent
from trackside.sdk.execution.ti import RuntimeTaskInstance

HEAD = """
import datetime as dt, sys
from airflow.sdk import DAG, Asset, AssetAlias, BaseOperator, Metadata, TaskGroup, task
from airflow.exceptions import *
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator
"""


def made(tmp_path, body, **run):
    return harness(tmp_path, HEAD + textwrap.dedent(body), **run)


def function(tmp_path, line, **run):
    """A DAG of one task whose function has this one line."""
    return made(tmp_path, f"with DAG('d', schedule=None):\n    @task(retries=2)\n    def f(ti=None):\n        {line}\n    f()\n", **run)


@pytest.mark.parametrize(
    ("line", "outcome", "error"),
    [
        ("raise ValueError('no good')", "failed", "ValueError: no good (file.py:11)"),
        ("raise ValueError", "failed", "ValueError (file.py:11)"),
        ("raise AirflowFailException('stop')", "failed_no_retry", "AirflowFailException: stop (file.py:11)"),
        ("raise AirflowSensorTimeout('late')", "failed_no_retry", "AirflowSensorTimeout: late (file.py:11)"),
        ("raise AirflowSkipException('not today')", "skipped", None),
        ("raise KeyboardInterrupt", "failed", "KeyboardInterrupt (file.py:11)"),
        ("sys.exit(0)", "failed", "the task called sys.exit(0), which counts as a failure"),
        ("sys.exit('bye')", "failed", "the task called sys.exit('bye'), which counts as a failure"),
        ("return object()", "failed", "NotSerializable: cannot serialize object of type <class 'object'>"),
    ],
)
def test_how_a_function_ends_decides_the_outcome(tmp_path, line, outcome, error):
    report = function(tmp_path, line).attempt("f", max_tries=2)
    assert (report.outcome, report.error) == (outcome, error)


def test_a_failure_is_logged_with_its_whole_chain(tmp_path):
    from trackside.sdk.execution import logs

    lines = []
    import logging

    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    logs.setup(lines.append)
    try:
        function(tmp_path, "ti.log.warning('careful %s', 1)\n        raise ValueError('outer') from KeyError('inner')").attempt("f")
    finally:
        root.handlers[:], _ = before[0], root.setLevel(before[1])
        logging.captureWarnings(False)
    (careful,) = [line for line in lines if line["event"] == "careful 1"]
    assert {k: careful[k] for k in ("level", "logger", "src", "filename")} == {
        "level": "warning", "logger": "airflow.task", "src": "log", "filename": "file.py",
    }  # fmt: skip
    assert careful["t"].endswith("Z")
    failed = next(line for line in lines if line.get("error_detail"))
    assert [part["exc_type"] for part in failed["error_detail"]] == ["ValueError", "KeyError"]
    assert any(frame["filename"].endswith("file.py") for frame in failed["error_detail"][0]["frames"])


def test_a_template_error_names_field_task_and_line(tmp_path):
    run = made(tmp_path, "with DAG('d', schedule=None):\n    BashOperator(task_id='a', bash_command='{{ nope }}')\n")
    expected = "UndefinedError: 'nope' is undefined (while rendering the template field 'bash_command' of a, written at file.py:9)"
    assert run.attempt("a").error == expected


def test_rescheduling_and_deferring_travel_in_the_report(tmp_path):
    run = made(
        tmp_path,
        """
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger
        class Op(BaseOperator):
            def execute(self, context):
                moment = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
                self.defer(trigger=DateTimeTrigger(moment), method_name="second", kwargs={"n": (1, 2)}, timeout=90)
            def second(self, context, n=None, event=None):
                return [n, event]
        with DAG("d", schedule=None):
            Op(task_id="op")
            @task
            def again(): raise AirflowRescheduleException(dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc))
            again()
        """,
    )
    report = run.attempt("op")
    assert report.outcome == "deferred"
    assert report.deferral["classpath"] == "airflow.providers.standard.triggers.temporal.DateTimeTrigger"
    assert (report.deferral["next_method"], report.deferral["timeout_s"]) == ("second", 90.0)
    run.attempt("op", next_method="second", next_kwargs={**report.deferral["next_kwargs"], "event": "fired"})
    assert run.xcom("op") == [(1, 2), "fired"]
    late = run.attempt("op", next_method="__fail__", next_kwargs={"error": "Trigger timeout"})
    assert (late.outcome, late.error) == ("failed", "TaskDeferralTimeout: Trigger timeout")
    report = run.attempt("again")
    assert (report.outcome, report.reschedule_at) == ("rescheduled", "2030-01-01T00:00:00+00:00")


XCOMS = """
with DAG("d", schedule=None):
    @task
    def put(ti=None):
        ti.xcom_push(key="rows", value=[1, 2, 3])
        return "main"
    @task
    def nothing(): return None
    @task(multiple_outputs=True)
    def split(): return {"a": 1, "b": [2], "c": None}
    @task(multiple_outputs=True)
    def wrong(): return [1]
    @task(do_xcom_push=False)
    def silent(): return "unseen"
    @task
    def pull(ti=None):
        return {
            "ret": ti.xcom_pull(task_ids="put"),
            "rows": ti.xcom_pull(task_ids="put", key="rows"),
            "both": ti.xcom_pull(task_ids=["put", "nothing"]),
            "none": ti.xcom_pull(task_ids="nothing"),
            "missing": ti.xcom_pull(task_ids="put", key="nope", default="unused"),
            "default": ti.xcom_pull(task_ids="put", key="nope", map_indexes=-1, default="used"),
            "own": ti.xcom_pull(),
        }
    @task
    def use(v): return v
    s = split()
    use(s["b"])
    use.override(task_id="none_key")(s["c"])
    use.override(task_id="unmade_key")(s["zzz"])
    use.override(task_id="bad_key")(put()["zzz"])
    [put(), nothing()] >> pull()
    wrong(); silent()
"""


def test_pulling_gives_what_airflow_gives(tmp_path):
    run = made(tmp_path, XCOMS)
    outcomes = run.attempt_all()
    assert run.xcom("pull") == {
        "ret": "main", "rows": [1, 2, 3], "both": ["main", None], "none": None, "missing": None, "default": "used", "own": None,
    }  # fmt: skip
    assert run.xcom("use") == [2]
    assert outcomes["wrong"] == outcomes["bad_key"] == "failed"
    assert outcomes["none_key"] == outcomes["unmade_key"] == "success", "keys of multiple outputs read as None"
    assert run.reports[("bad_key", -1)].error.startswith('XComNotFound: XComArg result from put at d with key="zzz" is not found!')
    published = {(key[2], key[4]) for key in run.comms.xcoms}
    assert {("split", "a"), ("split", "b"), ("split", "return_value")} <= published
    assert not {("silent", "return_value"), ("nothing", "return_value"), ("wrong", "return_value")} & published


def test_a_result_of_an_upstream_task_needs_no_question_to_the_server(tmp_path):
    run = made(tmp_path, "with DAG('d', schedule=None):\n    @task\n    def a(): return 1\n    @task\n    def b(x): return x\n    b(a())\n")
    run.attempt("a")
    run.comms.requests.clear()
    run.attempt("b")
    assert (run.xcom("b"), run.comms.requests) == (1, [])


MAPPED = """
with DAG("d", schedule=None):
    @task
    def make(v): return v
    @task
    def each(x, y=0): return f"{x}{y}"
    @task
    def total(xs): return [type(xs).__name__ == "list", list(xs), len(xs)]
    for name, value in {"good": ["a", "b"], "none": None, "text": "abc", "many": list(range(2000))}.items():
        each.override(task_id=f"each_{name}").expand(x=make.override(task_id=name)(value))
    total(each.partial(y="!").expand(x=["{{ run_id }}", "q"]))
"""


def test_mapped_values_decide_length_and_are_no_templates(tmp_path):
    run = made(
        tmp_path,
        """
        with DAG("d", schedule=None):
            @task
            def make(): return ["{{ run_id }}", "b"]
            BashOperator.partial(task_id="each").expand(env=make().map(lambda v: {"V": v}), bash_command=["echo $V {{ run_id }}"])
        """,
    )
    run.attempt("make")
    assert run.record("make").length == 2
    run.attempt("each", 0)
    assert run.xcom("each", map_index=0) == "{{ run_id }} r1"


@pytest.mark.parametrize(
    ("task_id", "error"),
    [
        ("none", "XComForMappingNotPushed: did not push XCom for task mapping"),
        ("text", "UnmappableXComTypePushed: unmappable return type 'str'"),
        ("many", "UnmappableXComLengthPushed: unmappable return value length: 2000 > 1024"),
    ],
)
def test_results_that_cannot_be_mapped_over_fail_the_task_that_returned_them(tmp_path, task_id, error):
    report = made(tmp_path, MAPPED).attempt(task_id)
    assert (report.outcome, report.error, report.xcoms) == ("failed", error, [])


def test_literal_values_of_a_map_are_templates_and_the_reduction_is_lazy_and_in_order(tmp_path):
    run = made(tmp_path, MAPPED)
    for index in (1, 0):
        run.attempt("each", index)
    run.attempt("total")
    assert run.xcom("total") == [False, ["r1!", "q!"], 2]


BRANCHES = """
with DAG("d", schedule=None):
    @task.branch
    def choose(params=None): return {choice}
    with TaskGroup("grp") as grp:
        [EmptyOperator(task_id="x"), EmptyOperator(task_id="y")] >> EmptyOperator(task_id="tail")
    work, idle, join = (EmptyOperator(task_id=t) for t in ("work", "idle", "join"))
    choose() >> [work, idle, join, grp]
    work >> join
"""


@pytest.mark.parametrize(
    ("choice", "followed"),
    [
        ("'work'", ["join", "work"]),
        ("['idle']", ["idle"]),
        ("'grp'", ["grp.x", "grp.y"]),
        ("None", []),
        ("['work', 'idle', 'grp', 'join']", ["grp.x", "grp.y", "idle", "join", "work"]),
    ],
)
def test_a_branch_follows_what_it_names_and_what_that_reaches(tmp_path, choice, followed):
    run = made(tmp_path, BRANCHES.replace("{choice}", choice))
    report = run.attempt("choose")
    assert (report.outcome, report.skip) == ("success", {"mode": "followed", "ids": followed})
    assert run.xcom("choose", "skipmixin_key") == {"followed": followed}


@pytest.mark.parametrize(
    ("choice", "part"),
    [
        ("'nope'", "Invalid tasks found: {'nope'}"),
        ("5", "expected all task IDs are strings"),
        ("[1]", "expected all task IDs are strings"),
    ],
)
def test_a_wrong_branch_fails_the_task(tmp_path, choice, part):
    report = made(tmp_path, BRANCHES.replace("{choice}", choice)).attempt("choose")
    assert report.outcome == "failed"
    assert report.skip is None
    assert part in report.error


@pytest.mark.parametrize(("ignore", "skipped"), [(True, ["a", "b"]), (False, ["a"])])
def test_a_short_circuit_skips_but_never_teardowns(tmp_path, ignore, skipped):
    run = made(
        tmp_path,
        f"""
        with DAG("d", schedule=None):
            @task.short_circuit(ignore_downstream_trigger_rules={ignore})
            def gate(go): return go
            gate(0) >> EmptyOperator(task_id="a") >> EmptyOperator(task_id="b") >> EmptyOperator(task_id="t").as_teardown()
            gate.override(task_id="open")("yes") >> EmptyOperator(task_id="c")
        """,
    )
    report = run.attempt("gate")
    assert (report.outcome, report.skip) == ("success", {"mode": "skipped", "ids": skipped})
    assert [record["key"] for record in report.xcoms] == ["skipmixin_key"]
    report = run.attempt("open")
    assert (report.skip, run.xcom("open")) == (None, "yes")


@pytest.mark.parametrize(("code", "outcome"), [(0, "success"), (1, "failed"), (99, "skipped"), (42, "failed")])
def test_exit_codes_of_bash(tmp_path, code, outcome):
    command = f"echo first; echo ' last '; exit {code}"
    run = made(tmp_path, f"with DAG('d', schedule=None):\n    BashOperator(task_id='a', bash_command={command!r})\n")
    report = run.attempt("a")
    assert report.outcome == outcome
    if code == 0:
        assert run.xcom("a") == " last"
    if outcome == "failed":
        assert report.error == f"AirflowException: Bash command failed. The command returned a non-zero exit code {code}."


def test_a_bash_environment_is_given_or_added_to(tmp_path, monkeypatch):
    monkeypatch.setenv("OUTSIDE", "seen")
    run = made(
        tmp_path,
        """
        with DAG("d", schedule=None):
            C = "echo $OUTSIDE/$FOO/$AIRFLOW_CTX_TASK_ID"
            BashOperator(task_id="none", bash_command=C)
            BashOperator(task_id="own", bash_command=C, env={"FOO": "{{ run_id }}"})
            BashOperator(task_id="both", bash_command=C, env={"FOO": "x"}, append_env=True)
        """,
    )
    run.attempt_all()
    assert [run.xcom(t) for t in ("none", "own", "both")] == ["seen//none", "/r1/own", "seen/x/both"]


def test_asset_events_of_outlets_aliases_and_metadata(tmp_path):
    run = made(
        tmp_path,
        """
        X, AL = Asset("x", uri="s3://x"), AssetAlias("al")
        with DAG("d", schedule=None):
            @task(outlets=[X])
            def plain(outlet_events=None): outlet_events[X].extra["n"] = 1
            @task(outlets=[X])
            def said():
                yield Metadata(X, {"m": 2})
            @task(outlets=[AL])
            def aliased(outlet_events=None): outlet_events[AL].add(Asset("dyn", uri="s3://dyn"), extra={"k": 1})
            @task(outlets=[X])
            def bad(): raise ValueError
            plain(); said(); aliased(); bad()
        """,
    )
    run.attempt_all()
    assert run.reports[("plain", -1)].asset_events == [{"name": "x", "uri": "s3://x", "extra": {"n": 1}}]
    assert run.reports[("said", -1)].asset_events == [{"name": "x", "uri": "s3://x", "extra": {"m": 2}}]
    (event,) = run.reports[("aliased", -1)].asset_events
    assert {k: event[k] for k in ("alias", "name", "uri", "extra")} == {"alias": "al", "name": "dyn", "uri": "s3://dyn", "extra": {"k": 1}}
    assert run.reports[("bad", -1)].asset_events == []


def test_events_say_as_attributes_what_they_are_about_and_who_wrote_them(tmp_path):
    run = made(
        tmp_path,
        """
        with DAG("d", schedule=None):
            @task(outlets=[AssetAlias("al")])
            def f(triggering_asset_events, outlet_events):
                event, = triggering_asset_events.for_asset(name="x")
                by_alias, = triggering_asset_events.for_asset_alias(name="al")
                assert event == by_alias and len(triggering_asset_events) == 2
                assert [type(key).__name__ for key in triggering_asset_events] == ["Asset", "AssetAlias"]
                outlet_events.for_asset_alias(name="al").add(Asset("dyn"), extra={"n": 1})
                who = event.source_task_instance
                return [event.asset.uri, event.timestamp.year, event.source_aliases[0].name, who.task_id, who.xcom_pull(key="k"),
                        who.xcom_pull(key="none", default=0), event.source_dag_run.run_id]
            f()
        """,
    )
    event = {"id": 1, "timestamp": "2026-05-01T00:00:00+00:00", "extra": {}, "asset": {"name": "x", "uri": "s3://x"},
             "source_dag_id": "p", "source_run_id": "pr", "source_task_id": "w", "source_map_index": -1,
             "source_aliases": [{"name": "al"}]}  # fmt: skip
    run.run["consumed_asset_events"] = [event]
    run.comms.xcoms["p", "pr", "w", -1, "k"] = XComRecord("k", 7, dag_id="p", run_id="pr", task_id="w")
    report = run.attempt("f")
    assert report.outcome == "success", report
    assert run.xcom("f") == ["s3://x", 2026, "al", "w", 7, 0, "pr"]
    assert report.asset_events[0]["alias"] == "al"
    by_hand = AssetEvent({**event, "source_dag_id": None, "source_run_id": None, "source_task_id": None})
    assert (by_hand.source_dag_run, by_hand.source_task_instance) == (None, None)


def test_a_function_of_an_asset_gets_the_assets_that_its_parameters_name(tmp_path):
    run = made(
        tmp_path,
        """
        from airflow.sdk import asset
        @asset(schedule=None, uri="s3://made")
        def report(self, orders, unknown, limit=3):
            assert all(type(found) is Asset for found in (orders, unknown))
            return [self.uri, orders.uri, orders.group, orders.extra, unknown.uri, limit]
        """,
    )
    run.comms.assets = [{"name": "orders", "uri": "s3://orders", "group": "shop", "extra": {"owner": "anna"}}]
    run.attempt("report")
    assert run.xcom("report") == ["s3://made", "s3://orders", "shop", {"owner": "anna"}, "unknown", 3]
    assert [inlet.name for inlet in run.dag.task_dict["report"].inlets] == ["orders", "unknown"]


def test_a_retry_policy_can_forbid_or_move_the_retry(tmp_path):
    run = made(
        tmp_path,
        """
        from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
        P = ExceptionRetryPolicy(rules=[RetryRule(exception=KeyError, action=RetryAction.FAIL),
                                        RetryRule(["requests.exceptions.HTTPError", "builtins.ValueError"],
                                                  retry_delay=dt.timedelta(seconds=7), reason="busy")])
        with DAG("d", schedule=None, default_args={"retries": 2, "retry_policy": P}):
            @task
            def fail(): raise KeyError
            @task
            def wait(): raise ValueError
            @task
            def plain(): raise TypeError
            fail(); wait(); plain()
        """,
    )
    assert run.attempt_all(max_tries=2) == {"fail": "failed_no_retry", "wait": "failed", "plain": "failed"}
    assert [run.reports[(t, -1)].retry_delay_s for t in ("wait", "plain")] == [7.0, None]
    assert [run.reports[(t, -1)].retry_reason for t in ("wait", "plain")] == ["busy", None]


def test_a_retry_policy_of_the_users_is_asked_by_keyword_and_its_own_failure_counts_for_nothing(tmp_path):
    run = made(
        tmp_path,
        """
        from airflow.sdk import RetryDecision, RetryPolicy
        class Mine(RetryPolicy):
            def evaluate(self, *, exception, try_number, max_tries, context=None):
                if "crash" in str(exception): raise RuntimeError
                return RetryDecision.retry(dt.timedelta(seconds=max_tries), reason=context["ti"].task_id)
        with DAG("d", schedule=None, default_args={"retries": 2, "retry_policy": Mine()}):
            @task
            def fine(): raise ValueError
            @task
            def crash(): raise ValueError("crash")
            @task
            def never():
                from airflow.sdk.exceptions import AirflowFailException
                raise AirflowFailException
            fine(); crash(); never()
        """,
    )
    assert run.attempt_all(max_tries=2) == {"fine": "failed", "crash": "failed", "never": "failed_no_retry"}
    found = {t: (run.reports[(t, -1)].retry_delay_s, run.reports[(t, -1)].retry_reason) for t in ("fine", "crash", "never")}
    assert found == {"fine": (2.0, "fine"), "crash": (None, None), "never": (None, None)}


def test_prior_dates_give_the_values_of_all_runs_oldest_first():
    newest_first = [XComRecord(dag_id="d", run_id=r, task_id="f", key="return_value", value=r) for r in ("r1", "r0")]
    ti = SimpleNamespace(_records=lambda *_: newest_first)
    assert RuntimeTaskInstance.xcom_values(ti, "f", include_prior_dates=True) == ["r0", "r1"]


def test_a_mapped_branch_keeps_its_value_and_its_decision(tmp_path):
    run = made(
        tmp_path,
        """
        with DAG('d', schedule=None):
            @task.branch
            def choose(n): return "left"
            @task
            def left(): pass
            @task
            def right(): pass
            choose.expand(n=[1]) >> [left(), right()]
        """,
    )
    report = run.attempt("choose", map_index=0)
    assert (report.outcome, run.xcom("choose", map_index=0)) == ("success", "left")
    assert run.xcom("choose", "skipmixin_key", map_index=0) == {"followed": ["left"]}


def test_a_wrong_exit_code_of_a_bash_sensor_is_final_and_so_skips_a_soft_one(tmp_path):
    run = made(
        tmp_path,
        """
        from airflow.providers.standard.sensors.bash import BashSensor
        with DAG('d', schedule=None):
            BashSensor(task_id="hard", bash_command="exit 3", retry_exit_code=1, retries=2)
            BashSensor(task_id="soft", bash_command="exit 3", retry_exit_code=1, soft_fail=True)
        """,
    )
    hard = run.attempt("hard")
    assert (hard.outcome, run.attempt("soft").outcome) == ("failed_no_retry", "skipped")
    assert "AirflowFailException" in hard.error


def test_a_task_reads_facts_of_a_dag_as_attributes(tmp_path, monkeypatch):
    """Airflow's `ti.get_dag` answers with an object; ours was a dict."""
    run = made(tmp_path, """
        with DAG("d", schedule=None):
            @task
            def f(ti):
                dag = ti.get_dag("other")
                return [dag.dag_id, dag.is_paused, dag.owners, dag.tags, dag.next_dagrun.year]
            f()
    """)  # fmt: skip
    told = {"dag_id": "other", "is_paused": True, "owners": "ann", "tags": ["a"], "next_dagrun": "2026-01-02T00:00:00Z", "newer": 1}
    ask = run.comms.request
    said = lambda method, path, **more: (200, told) if path == "/dags/other" else ask(method, path, **more)  # noqa: E731
    monkeypatch.setattr(run.comms, "request", said)
    run.attempt("f")
    assert run.xcom("f") == ["other", True, "ann", ["a"], 2026]
