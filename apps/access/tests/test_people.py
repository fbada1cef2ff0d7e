"""Accounts, roles and tokens from the command line: domain calls, and the command that `trackside users|roles|tokens` becomes."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils.timezone import now

from apps.access import people, policy, tokens
from apps.access.audit import Actor
from apps.access.errors import Exists, NotThere, Refused
from apps.access.models import ApiToken, AuditEvent, User
from apps.access.tests.resthelp import Api, person

pytestmark = pytest.mark.django_db
ME = Actor("operator", "cli")


def command(*words: str) -> str:
    out = io.StringIO()
    call_command("people", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    command(*words, "-o", "json")
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_a_service_account_has_no_password_and_gets_none() -> None:
    robot = people.create_user("robot", ["User"], actor=ME, signs_in_with="token")
    robot.set_password("a long enough one")
    robot.save()
    robot.refresh_from_db()
    assert not robot.has_usable_password()
    signed = Client().post("/auth/token", {"username": "robot", "password": "a long enough one"}, content_type="application/json")
    assert signed.status_code == 401


def test_the_database_refuses_a_password_of_a_service_account() -> None:
    people.create_user("robot", ["User"], actor=ME, signs_in_with="token")
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(username="robot").update(password="pbkdf2_sha256$1$x$y")


def test_a_service_account_works_with_its_token_until_that_is_revoked() -> None:
    people.create_user("robot", ["Viewer"], actor=ME, signs_in_with="token")
    text = people.create_token("robot", "nightly", actor=ME)
    assert Api(token=text).get("/pools")[0] == 200
    assert Api(token=text)("POST", "/pools", {"name": "p", "slots": 1})[0] == 403
    people.revoke_token(text.removeprefix(tokens.PREFIX)[:12], actor=ME)
    assert Api(token=text).get("/pools")[0] == 401


def test_its_tokens_outlive_an_attempt_to_give_it_a_password() -> None:
    robot = people.create_user("robot", ["Viewer"], actor=ME, signs_in_with="token")
    text = people.create_token("robot", "nightly", actor=ME)
    robot.set_password("a long enough one")
    robot.save()
    assert Api(token=text).get("/pools")[0] == 200


def test_roles_are_replaced_and_the_trail_has_both() -> None:
    ada = person("Viewer", username="ada")
    epoch = ada.sign_in_epoch
    people.set_roles("ada", ["Op"], actor=ME)
    ada = User.objects.get(username="ada")
    assert policy.groups_of(ada) == {"Op"}
    assert ada.sign_in_epoch > epoch, "sign-ins end with the rights they were made with"
    assert AuditEvent.objects.get(action="change_roles").extra == {"before": {"groups": ["Viewer"]}, "after": {"groups": ["Op"]}}


def test_the_same_roles_again_change_nothing() -> None:
    person("Op", username="ada")
    epoch = User.objects.get(username="ada").sign_in_epoch
    people.set_roles("ada", ["Op"], actor=ME)
    assert User.objects.get(username="ada").sign_in_epoch == epoch
    assert not AuditEvent.objects.filter(action="change_roles").exists()


def test_somebody_stays_who_may_do_everything() -> None:
    person("Admin", username="ada")
    people.create_user("robot", ["Admin"], actor=ME, signs_in_with="token")  # cannot open the pages
    with pytest.raises(Refused, match="last one"):
        people.delete_user("ada", actor=ME)
    with pytest.raises(Refused, match="last one"):
        people.set_roles("ada", ["Viewer"], actor=ME)
    person("Admin", username="bob")
    people.delete_user("ada", actor=ME)
    assert not User.objects.filter(username="ada").exists()


def test_own_roles_can_go_and_the_four_stay() -> None:
    people.create_role("team-a", actor=ME)
    with pytest.raises(Exists):
        people.create_role("team-a", actor=ME)
    people.delete_role("team-a", actor=ME)
    assert not Group.objects.filter(name="team-a").exists()
    with pytest.raises(Refused, match="stays"):
        people.delete_role("Viewer", actor=ME)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"scopes": ["fly"]}, "fly"),
        ({"expires_at": now() - timedelta(days=1)}, "past"),
        ({"name": " "}, "what it is for"),
        ({"owner": "nobody"}, "no user called nobody"),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(values: dict[str, Any], words: str) -> None:
    person("Op", username="ada")
    given: dict[str, Any] = {"owner": "ada", "name": "nightly", **values}
    with pytest.raises(Refused, match=words):
        people.create_token(given.pop("owner"), given.pop("name"), actor=ME, **given)
    assert not ApiToken.objects.exists()


def test_unknown_roles_and_people_are_named() -> None:
    person("Op", username="ada")
    with pytest.raises(NotThere, match="no role called Boss"):
        people.set_roles("ada", ["Boss"], actor=ME)
    with pytest.raises(CommandError, match="no user called bob"):
        command("delete-user", "bob")


def test_the_command_lists_people_roles_and_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    person("Op", username="ada")
    text = command("create-token", "ada", "nightly", "--scope", "read", "--expires", "30d").strip()
    assert [(u["username"], u["roles"], u["signs_in_with"]) for u in listed(capsys, "list-users")] == [("ada", ["Op"], "password")]
    assert {"name": "Op", "members": 1, "built_in": True, "rights": []} in listed(capsys, "list-roles")
    (shown,) = listed(capsys, "list-tokens", "--user", "ada")
    assert (shown["owner"], shown["name"], shown["scopes"]) == ("ada", "nightly", ["read"])
    assert text.split("_", 2)[2] not in json.dumps(shown), "the secret is shown once"
    command("revoke-token", shown["prefix"])
    assert listed(capsys, "list-tokens") == []
    assert len(listed(capsys, "list-tokens", "--all")) == 1


@pytest.mark.parametrize("when", ["soon", "30", "2027-01-01", "2027-13-01T00:00:00Z", "2027-01-01T00:00:00"])
def test_a_moment_that_cannot_be_read_is_refused_with_an_example(when: str) -> None:
    person("Op", username="ada")
    with pytest.raises(CommandError, match="30d"):
        command("create-token", "ada", "nightly", "--expires", when)


def test_what_it_does_is_in_the_trail_without_the_secret() -> None:
    person("Op", username="ada")
    text = command("create-token", "ada", "nightly").strip()
    command("create-role", "team-a")
    events = {event.action: event for event in AuditEvent.objects.all()}
    assert {"add_api_token", "add_group"} <= set(events)
    assert all(event.means == "cli" for event in events.values())
    assert text.split("_", 2)[2] not in json.dumps([event.extra for event in events.values()])
