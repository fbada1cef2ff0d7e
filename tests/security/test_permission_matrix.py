"""The permission matrix, made from the routes themselves: every route and topic, as every kind of person, on own and foreign DAGs.

What a route needs is declared beside it (`may` of an operation, `needs` of a page); who has that is said here once more, apart from
`policy`. A route without a declaration fails the first test. People: none (signed in, no role), the four roles, `guest`, who has
no role but a group that the file of one DAG lets read it (`access_control`), `member`, who may in one team what a User may
everywhere, and `clerk`, whose own role has all rights on one DAG. S6, S7, S8, S9, S30.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils.timezone import now

from apps.access import audit, people, policy, role_rights, tokens
from apps.access.models import AuditEvent, Team, TeamMember, User
from apps.access.rest.operations import PUBLIC, REGISTRY, Operation
from apps.access.rest.routes import OperationView
from apps.access.tests.resthelp import person
from apps.dags.models import Dag
from apps.runs.execution.asgi import ROUTES
from apps.runs.execution.refusal import Refused
from apps.runs.models import TaskInstance
from apps.ui.live import topics
from apps.ui.tests import factories

assert get_resolver().url_patterns  # the routes are loaded, and with them the operations registered
pytestmark = pytest.mark.django_db
CANARY = "canary-of-others"
ROLES = ("none", "Viewer", "User", "Op", "Admin")
PEOPLE = (*ROLES, "guest", "member", "clerk")
OPEN = {"login", "new_password", "logout", "data_badge", "openapi", "api_docs", "rest-token", "set_language", "words"}
"""Named routes that anybody may ask for: doors, the description of the API, and badges, whose address is signed."""
OWN_ACCOUNT = {"account", "sign_out_everywhere"}
OPEN_WITHOUT_NAME = {"auth/token/cli", "redoc"}
CLOSED = {"get_config", "get_config_value"}
"""Refused to everybody: settings are not told by REST."""
WRITES = re.compile(r'^\s*(INSERT|UPDATE|DELETE|MERGE|TRUNCATE)\b.*?"?(\w+)"?', re.I)


# Who may, said a second time ----------------------------------------------------------------------------------------
def least(action: str, kind: str) -> str:
    """The lowest role that may do this to everything of the kind."""
    if kind in {"connection", "variable"}:
        return "Op"
    if kind in {"user", "role", "token", "team"}:
        return "Admin"
    if action == "read":
        return "Viewer"
    if kind in {"asset", "pool", "view"}:
        return "Op"
    return "Admin" if kind in {"config", "monitor", "audit"} else "User"


OF_A_DAG = {"dag", "run", "task", "log", "xcom", "version", "source", "warning", "import_error", "hitl", "backfill"}


def may(who: str, action: str, kind: str, dag: str | None) -> bool:
    if who == "guest":
        return dag == "own" and action == "read" and kind in OF_A_DAG
    if who == "clerk":
        return dag == "own" and kind in OF_A_DAG
    if who == "member":  # pools: of the team, if it has any
        return (dag == "own" and kind in OF_A_DAG) or (action, kind) == ("read", "pool")
    return ROLES.index(who) >= ROLES.index(least(action, kind))


# The world ----------------------------------------------------------------------------------------------------------
class World:
    """Two DAGs with a run each, and a person of every kind with a client."""

    def __init__(self) -> None:
        self.things = {"own": self.make("own-dag", {"team": ["can_read"]}), "foreign": self.make(CANARY, {})}
        self.users = {who: person(who if who in policy.ROLES else None) for who in PEOPLE}
        TeamMember.objects.create(team=Team.objects.create(name="owners", tags=["owned"]), user=self.users["member"], role="User")
        Dag.objects.get(pk="own-dag").tags.create(name="owned")
        people.create_role("clerks", actor=audit.SYSTEM)
        role_rights.set_rights("clerks", ["dag=own-dag:all"], actor=audit.SYSTEM)
        self.users["clerk"].groups.add(Group.objects.get(name="clerks"))
        self.users["clerk"] = User.objects.get(pk=self.users["clerk"].pk)
        self.users["member"].refresh_from_db()  # what was signed in with before has ended
        self.users["guest"].groups.add(Group.objects.create(name="team"))
        self.sessions, self.tokens = {}, {}
        for who, user in self.users.items():
            self.sessions[who] = Client()
            self.sessions[who].force_login(user)
            self.tokens[who] = tokens.issue(user)

    @staticmethod
    def make(dag_id: str, access: dict[str, Any]) -> dict[str, Any]:
        made = factories.spec(dag_id, ["extract", "load"], access_control=access)
        dag = factories.dag(dag_id, made=made)
        run = factories.run(dag)
        ti = TaskInstance.objects.filter(run=run, task_id="extract").get()
        ti.try_id = uuid.uuid4()
        ti.save(update_fields=["try_id"])
        row = factories.a_try(ti)
        AuditEvent.objects.create(action="trigger_dag_run", dag_id=dag_id, run_id=run.run_id)
        of_run = {"run_id": run.run_id, "dag_run_id": run.run_id, "run_pk": run.pk}
        return {"dag_id": dag_id, **of_run, "task_id": "extract", "try_id": row.pk, "ti_pk": ti.pk}

    def filled(self, dag: str, names: list[str]) -> dict[str, Any]:
        other = {"undo_pk": uuid.UUID(int=1), "undo_id": str(uuid.UUID(int=1)), "signed": "x"}
        return {name: self.things[dag].get(name, other.get(name, 1)) for name in names}


@pytest.fixture
def world(db: None) -> World:
    return World()


def attempt(call: Any) -> tuple[Any, list[str]]:
    """The answer, and which tables were written; undone afterwards."""
    with transaction.atomic():
        with CaptureQueriesContext(connection) as seen:
            answer = call()
        transaction.set_rollback(True)
    written = [m[0] for q in seen if (m := WRITES.match(q["sql"])) and "django_session" not in m.string]
    return answer, written


def refused(answer: Any, written: list[str], dag: str, about: Any) -> None:
    """403 that changed nothing and tells nothing."""
    assert answer.status_code == 403, (about, answer.status_code)
    assert written == [], about
    if dag == "foreign":
        known = answer.wsgi_request.path
        assert CANARY not in answer.content.decode().replace(known, "") or CANARY in known, about


# Routes -------------------------------------------------------------------------------------------------------------
def routes(resolver: Any = None, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in (resolver or get_resolver()).url_patterns:
        where = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, where)
        else:
            yield where, pattern


def pages() -> list[tuple[str, tuple[str, str]]]:
    return [(p.name, p.callback.needs) for _, p in routes() if hasattr(p.callback, "needs")]


def operation_view(pattern: URLPattern) -> bool:
    return isinstance(getattr(pattern.callback, "view_class", getattr(pattern.callback, "cls", None)), type) and issubclass(
        getattr(pattern.callback, "view_class", getattr(pattern.callback, "cls", None)), OperationView
    )


def test_s6_s30_every_route_declares_what_it_needs():
    undeclared = []
    for where, pattern in routes():
        known = pattern.name in OPEN | OWN_ACCOUNT or where in OPEN_WITHOUT_NAME or where.startswith("admin/")
        if not (known or hasattr(pattern.callback, "needs") or operation_view(pattern)):
            undeclared.append(where)
    unknown_paths = [where for where in undeclared if "api/" in where]
    assert [where for where in undeclared if where not in unknown_paths] == [], "add @page(…) or operation(may=…)"
    for where in unknown_paths:  # what answers 404 for paths that do not exist
        assert Client().get("/api/v2/no-such-thing").status_code == 404, where
    for op in REGISTRY:
        assert op.may == PUBLIC or (op.may[0] in policy.ACTIONS and op.may[1] in policy.KINDS), op.id
    for name, (action, kind) in pages():
        assert name and action in policy.ACTIONS and kind in policy.KINDS, name
    assert len(pages()) > 40 and len(REGISTRY) > 130, "the walk finds the routes"


@pytest.mark.parametrize("token", ["", "garbage", f"{uuid.UUID(int=7)}.secret", "trk_abc_def"])
def test_every_route_of_the_execution_api_refuses_tokens_that_are_none(token):
    for method, pattern, handler in ROUTES:
        names = {name: str(uuid.UUID(int=7)) for name in pattern.groupindex}
        with CaptureQueriesContext(connection) as seen, pytest.raises(Refused) as refusal:
            handler(token=token, body={}, query={}, **names)
        assert refusal.value.status in (401, 403, 410), (method, pattern.pattern, refusal.value.detail)
        assert not [q for q in seen if WRITES.match(q["sql"])], pattern.pattern
    assert len(ROUTES) > 15


def test_s6_nobody_gets_in_without_signing_in(world):
    for name, _ in pages():
        for dag in ("own", "foreign"):
            for method in ("GET", "POST"):
                url = reverse(name, kwargs=world.filled(dag, arguments(name)))
                answer, written = attempt(lambda u=url, m=method: Client().generic(m, u))
                assert answer.status_code in (302, 405), (name, method, answer.status_code)
                assert answer.status_code == 405 or answer["Location"].startswith("/login"), name
                assert not written
    for op in REGISTRY:
        if op.may != PUBLIC:
            answer, written = attempt(lambda o=op: Client().generic(o.method, path_of(world, o, "own")))
            assert (answer.status_code, written) == (401, []), op.id
    for where, pattern in routes():
        if where.startswith("admin/") and not pattern.pattern.converters and "(?P" not in where:
            assert Client().get("/" + where.replace("\\Z", "").rstrip("$")).status_code in (301, 302, 404), where


# REST ---------------------------------------------------------------------------------------------------------------
def path_of(world: World, op: Operation, dag: str) -> str:
    names = re.findall(r"\{(\w+)", op.path)
    return op.base + re.sub(r"\{(\w+)[^}]*\}", lambda m: str(world.filled(dag, names)[m[1]]), op.path)


@pytest.mark.parametrize("who", PEOPLE)
def test_s7_s8_every_operation_as_every_person_on_own_and_foreign_dags(world, who):
    headers = {"Authorization": f"Bearer {world.tokens[who]}"}
    client, called = Client(raise_request_exception=True), 0
    for op in REGISTRY:
        if op.may == PUBLIC:
            continue
        for dag in ("own", "foreign") if "{dag_id}" in op.path else ("foreign",):
            granted = may(who, *op.may, dag if "{dag_id}" in op.path else None) and op.id not in CLOSED
            if granted and op.method != "GET" and who != "Admin":
                continue  # that it is granted, not what it does, is the question: once is enough
            answer, written = attempt(lambda o=op, d=dag: client.generic(o.method, path_of(world, o, d), headers=headers))
            called += 1
            if granted:
                assert answer.status_code not in (401, 403) and answer.status_code < 500, (op.id, dag, answer.content)
            elif op.filtered and who in ("guest", "member", "clerk"):  # tells of what they may see, and of nothing else
                assert answer.status_code in (200, 404, 422) and written == [], (op.id, answer.content)
                assert CANARY not in answer.content.decode(), op.id
            else:
                refused(answer, written, dag, (op.id, dag))
    assert called > 90


# Pages --------------------------------------------------------------------------------------------------------------
def arguments(name: str) -> list[str]:
    return next(list(p.pattern.converters) for _, p in routes() if p.name == name)


def test_every_page_as_every_person_on_own_and_foreign_dags(world):
    for who in PEOPLE:
        for name, (action, kind) in pages():
            names = arguments(name)
            for dag in ("own", "foreign") if set(names) & world.things["own"].keys() else ("foreign",):
                url = reverse(name, kwargs=world.filled(dag, names))
                for method in ("GET", "POST"):
                    granted = may(who, action, kind, dag if "dag_id" in names else None)
                    opens = "dag_id" not in names and (action, kind) == ("read", "dag")
                    if method == "POST" and (granted or opens) and who not in ("Admin", "none", "guest", "member", "clerk"):
                        continue
                    answer, written = attempt(lambda w=who, m=method, u=url: world.sessions[w].generic(m, u))
                    about = (who, name, dag, method, answer.status_code)
                    if answer.status_code == 405:
                        continue
                    if granted:
                        assert answer.status_code not in (401, 403) and answer.status_code < 500, about
                    elif opens:  # the object in the address, or each row, is judged by itself
                        assert answer.status_code < 500, about
                        if who == "none" or dag == "foreign":
                            assert CANARY not in text_of(answer).replace(url, ""), about
                    else:
                        refused(answer, written, dag, about)


def text_of(answer: Any) -> str:
    return (b"".join(answer.streaming_content) if answer.streaming and not answer.is_async else answer.content).decode()


def test_pages_of_single_objects_are_judged_by_the_dag_of_the_object(world):
    for who in PEOPLE:
        for dag in ("own", "foreign"):
            granted = may(who, "read", "run", dag)
            for name in ("run_short", "tip_data", "log_text", "log_about", "log_lines", "log_search"):
                url = reverse(name, kwargs=world.filled(dag, arguments(name)))
                status = attempt(lambda w=who, u=url: world.sessions[w].get(u))[0].status_code
                assert status == ((302 if name == "run_short" else 200) if granted else 404), (who, dag, name, status)


# Sockets ------------------------------------------------------------------------------------------------------------
def test_every_topic_as_every_person_on_own_and_foreign_dags(world):
    kinds = re.findall(r"`(\w+)[:`]", (topics.__doc__ or "").split("\n\n", 1)[1])
    assert set(kinds) == {"dags", "dag", "run", "task", "log"}, "a new topic needs a line here"
    for dag, things in world.things.items():
        names = {
            "dags": "dags", "dag": f"dag:{things['dag_id']}", "run": f"run:{things['run_pk']}", "task": f"task:{things['ti_pk']}",
            "log": f"log:{things['try_id']}:0",
        }  # fmt: skip
        for kind in kinds:
            topic = topics.parse(names[kind])
            of = None if kind == "dags" else topics.dag_of(topic)
            for who, user in world.users.items():
                wanted = may(who, "read", "log" if kind == "log" else "dag", None if kind == "dags" else dag)
                assert topics.may_hear(user, topic, of) == wanted, (who, kind, dag)


# Lists --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("by", ["file", "team"])
@pytest.mark.parametrize("query", ["", "?limit=1", "?order_by=-dag_id", f"?dag_id={CANARY}", f"?dag_ids={CANARY}", "?q=canary"])
def test_s7_lists_do_not_tell_of_foreign_dags_by_content_count_order_or_filter(query, by):
    """What a guest or a member is answered is the same, byte for byte, whether foreign DAGs exist or not."""
    guest = person(None)
    guest.groups.add(Group.objects.create(name="team"))
    world_of_one = World.make("own-dag", {"team": ["can_read"]} if by == "file" else {})
    if by == "team":
        TeamMember.objects.create(team=Team.objects.create(name="owners", tags=["owned"]), user=guest, role="User")
        Dag.objects.get(pk="own-dag").tags.create(name="owned")
    token = tokens.issue(guest)
    session = Client()
    session.force_login(guest)

    def look() -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for op in REGISTRY:
            if op.method != "GET" or op.may == PUBLIC or op.id == "live_events":
                continue
            path = re.sub(r"\{(\w+)[^}]*\}", lambda m: str({**world_of_one, "dag_id": "~", "dag_run_id": "~"}.get(m[1], "~")), op.path)
            answer = Client().get(f"{op.base}{path}{query}", headers={"Authorization": f"Bearer {token}"})
            seen[op.id] = (answer.status_code, answer.content)
        for name in ("home", "dags", "runs", "dag_rows", "find_data", "required_actions", "import_errors"):
            page = session.get(reverse(name) + query)
            # tokens, and the position in the server's stream of transactions, which others move, too
            text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"|data-csrf="\w+"|data-cursor="[^"]*"', "", page.content.decode())
            seen[name] = (page.status_code, re.sub(r"\d+(?:\.\d+)? ?(?:ms|s|min|seconds?)\b", "", text))
        return seen

    with time_machine.travel(now(), tick=False):
        before = look()
        World.make(CANARY, {})
        World.make("aaa-" + CANARY, {})
        after = look()
    assert {name for name in before if before[name] != after[name]} == set()


# Names --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["DAGs", "Admin", "*", "~", "all", "admin", "Viewer", "team ", "TEAM", "tеam", "can_read"])
def test_s9_no_name_of_a_dag_or_group_is_mistaken_for_a_right(name):
    """S9: rights are typed keys compared whole; groups of people differ from roles and from each other by every character."""
    factories.dag("guarded", made=factories.spec("guarded", ["a"], access_control={"team": ["can_read"]}))
    factories.dag(name, made=factories.spec(name, ["a"], access_control={}))
    stranger = person(None)
    if name not in policy.ROLES:
        stranger.groups.add(Group.objects.create(name=name))
    assert not policy.allowed(stranger, "read", "dag")
    assert not policy.allowed(stranger, "read", "dag", "guarded")
    assert not policy.allowed(stranger, "read", "dag", name)
