"""Signing in and out: lock-out, generated passwords, and what ends with a password, an account or a role (S16)."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from apps.access import tokens
from apps.access.models import ApiToken, AuditEvent, User
from apps.access.tests.resthelp import Api, person

pytestmark = pytest.mark.django_db
PASSWORD, OTHER = "correct horse battery", "another staple 41"


def sign_in(client: Client, name: str, password: str = PASSWORD, address: str = "10.0.0.1", **more: Any) -> Any:
    return client.post("/login", {"username": name, "password": password, **more}, REMOTE_ADDR=address)


def ask_token(name: str, password: str = PASSWORD, address: str = "10.0.0.1") -> Any:
    body = json.dumps({"username": name, "password": password})
    return Client().post("/auth/token", body, content_type="application/json", REMOTE_ADDR=address)


def stays(client: Client) -> bool:
    return client.get("/").status_code == 200


# Lock-out -----------------------------------------------------------------------------------------------------------
def test_s16_five_wrong_passwords_lock_the_pair_of_name_and_address_and_nobody_else():
    name = person("Viewer", password=PASSWORD).username
    for _ in range(4):
        assert sign_in(Client(), name, "wrong").status_code == 200
    assert sign_in(Client(), name, "wrong").status_code == 429
    locked = sign_in(Client(), name)
    assert locked.status_code == 429
    assert 890 < int(locked["Retry-After"]) <= 900
    assert "Try again in 15 minutes" in locked.content.decode()
    assert sign_in(Client(), name, address="10.0.0.2").status_code == 302
    assert AuditEvent.objects.filter(action="locked_out", object_id=name).count() == 1


def test_s16_both_doors_count_together_and_the_right_password_starts_afresh():
    name = person("Viewer", password=PASSWORD).username
    assert [ask_token(name, "wrong").status_code for _ in range(4)] == [401] * 4
    assert ask_token(name).status_code == 201
    for _ in range(3):
        sign_in(Client(), name, "wrong")
    assert ask_token(name, "wrong").status_code == 401
    refused = ask_token(name, "wrong")
    assert refused.status_code == 429 and refused["Retry-After"]
    assert "Try again in" in refused.json()["detail"]
    assert ask_token(name).status_code == 429


def test_s16_a_name_that_does_not_exist_is_locked_in_the_same_words():
    name = person("Viewer", password=PASSWORD).username
    answers = {who: [(a.status_code, a.json()["detail"]) for a in [ask_token(who, "wrong") for _ in range(6)]] for who in (name, "nobody")}
    assert answers[name] == answers["nobody"]


def test_s16_the_lock_opens_by_itself_and_attempts_while_it_is_locked_do_not_prolong_it():
    name = person("Viewer", password=PASSWORD).username
    start = now()
    with time_machine.travel(start, tick=False):
        for _ in range(5):
            ask_token(name, "wrong")
    with time_machine.travel(start + timedelta(minutes=14), tick=False):
        assert ask_token(name).status_code == 429
    with time_machine.travel(start + timedelta(minutes=16), tick=False):
        assert ask_token(name).status_code == 201


@pytest.mark.parametrize("name", ["\x00", "a\x00b", "x" * 5000, "\ud800", "ada\r\nadmin", "' OR 1=1 --"], ids=str.__len__)
def test_s16_hostile_names_are_refused_without_a_server_error(name):
    assert sign_in(Client(), name.encode("utf-8", "replace").decode()).status_code in (200, 429)
    assert ask_token(name).status_code in (400, 401, 422)


# A password that was generated ---------------------------------------------------------------------------------------
@pytest.fixture
def newcomer() -> User:
    return person("Op", password=PASSWORD, must_change_password=True)


def test_s16_a_generated_password_opens_only_the_page_that_asks_for_an_own_one(newcomer):
    client = Client()
    answer = sign_in(client, newcomer.username, next="/dags?q=x")
    assert answer["Location"] == reverse("new_password")
    assert not stays(client) and client.get("/api/v2/dags").status_code == 401
    page = client.get(reverse("new_password")).content.decode()
    assert newcomer.username in page and PASSWORD not in page

    def choose(first: str, second: str | None = None) -> Any:
        return client.post(reverse("new_password"), {"new_password1": first, "new_password2": second or first})

    assert choose(PASSWORD).status_code == 200, "the same again"
    assert choose("password").status_code == 200, "too common"
    assert choose(OTHER, "different").status_code == 200
    done = choose(OTHER)
    assert done["Location"] == "/dags?q=x"
    assert stays(client)
    newcomer.refresh_from_db()
    assert not newcomer.must_change_password and newcomer.check_password(OTHER)
    assert sign_in(Client(), newcomer.username, OTHER)["Location"] == "/"
    assert set(AuditEvent.objects.filter(object_id=newcomer.username).values_list("action", flat=True)) == {"password_changed", "login"}


def test_s16_rest_works_with_a_generated_password(newcomer):
    answer = ask_token(newcomer.username)
    assert answer.status_code == 201
    assert Api(token=answer.json()["access_token"]).get("/pools")[0] == 200


def test_s16_the_page_for_a_new_password_opens_for_nobody_else(newcomer):
    assert Client().get(reverse("new_password"))["Location"] == reverse("login")
    client = Client()
    sign_in(client, newcomer.username)
    with time_machine.travel(now() + timedelta(minutes=11), tick=False):
        assert client.get(reverse("new_password"))["Location"] == reverse("login")
    newcomer.set_password(OTHER)
    newcomer.save()
    mine = {"new_password1": "x9-mine-now", "new_password2": "x9-mine-now"}
    assert client.post(reverse("new_password"), mine)["Location"] == reverse("login")
    newcomer.refresh_from_db()
    assert newcomer.check_password(OTHER)


# Sessions -----------------------------------------------------------------------------------------------------------
def test_s16_the_session_id_changes_with_the_sign_in_and_dies_with_the_sign_out():
    name, client = person("Viewer", password=PASSWORD).username, Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32  # planted
    sign_in(client, name)
    kept = client.cookies[settings.SESSION_COOKIE_NAME]
    assert kept.value != "a" * 32 and kept["httponly"] and kept["samesite"] == "Lax" and kept["path"] == "/"
    stolen = Client()
    stolen.cookies[settings.SESSION_COOKIE_NAME] = kept.value
    assert stays(stolen)
    client.post("/logout")
    assert not stays(stolen)


def signed_in(user: User) -> tuple[Client, Api, Api]:
    """A session, a signed token, a token for scripts."""
    client = Client()
    client.force_login(user)
    return client, Api(token=tokens.issue(user)), Api(token=tokens.make_api_token(user, "script"))


def alive(of: tuple[Client, Api, Api]) -> list[bool]:
    return [stays(of[0]), *(api.get("/dags")[0] == 200 for api in of[1:])]


def change_password(client: Client, old: str = PASSWORD, new: str = OTHER) -> Any:
    return client.post(reverse("account"), {"old_password": old, "new_password1": new, "new_password2": new})


def test_s16_a_new_password_ends_every_other_sign_in_and_all_tokens():
    user = person("Viewer", password=PASSWORD)
    elsewhere, here = signed_in(user), Client()
    sign_in(here, user.username)
    assert alive(elsewhere) == [True, True, True]
    assert change_password(here, "not mine").status_code == 200
    assert alive(elsewhere) == [True, True, True]
    assert change_password(here).status_code == 302
    assert stays(here)
    assert alive(elsewhere) == [False, False, False]
    assert PASSWORD not in str(list(AuditEvent.objects.values())) and OTHER not in str(list(AuditEvent.objects.values()))


def test_s16_a_password_set_by_an_administrator_ends_everything():
    user = person("Viewer", password=PASSWORD)
    had = signed_in(user)
    admin = Client()
    admin.force_login(person("superuser"))
    url = reverse("admin:auth_user_password_change", args=(user.pk,))
    assert admin.post(url, {"password1": OTHER, "password2": OTHER, "usable_password": "true"}).status_code == 302
    assert alive(had) == [False, False, False]


def test_s16_a_disabled_account_loses_everything_and_gets_nothing_back_when_it_is_enabled():
    user = person("Viewer", password=PASSWORD)
    had = signed_in(user)
    user = User.objects.get(pk=user.pk)
    user.is_active = False
    user.save()
    assert alive(had) == [False, False, False]
    assert ask_token(user.username).status_code == 401
    user.is_active = True
    user.save()
    assert alive(had) == [False, False, False]
    assert ask_token(user.username).status_code == 201


@pytest.mark.parametrize("way", ["add", "remove", "set", "clear", "reverse add", "reverse remove", "reverse clear", "superuser"])
def test_s16_another_role_ends_sessions_and_signed_tokens_and_scripts_get_the_new_rights_at_once(way):
    user = person("Op", password=PASSWORD)
    had = signed_in(user)
    assert had[2].get("/connections")[0] == 200
    op, viewer = Group.objects.get(name="Op"), Group.objects.get(name="Viewer")
    fresh = User.objects.get(pk=user.pk)
    if way == "add":
        fresh.groups.add(viewer)
    elif way == "remove":
        fresh.groups.remove(op)
    elif way == "set":
        fresh.groups.set([viewer])
    elif way == "clear":
        fresh.groups.clear()
    elif way == "reverse add":
        viewer.user_set.add(fresh)
    elif way == "reverse remove":
        op.user_set.remove(fresh)
    elif way == "reverse clear":
        op.user_set.clear()
    else:
        fresh.is_superuser = True
        fresh.save()
    assert alive(had)[:2] == [False, False]
    still_op = way in ("add", "reverse add", "superuser")
    assert had[2].get("/connections")[0] == (200 if still_op else 403)


def test_s16_an_old_copy_of_a_person_that_is_saved_later_brings_no_session_back():
    user = person("Viewer", password=PASSWORD)
    had = signed_in(user)
    old = User.objects.get(pk=user.pk)
    Group.objects.get(name="Op").user_set.add(user)
    old.preferences = {"theme": "dark"}
    old.save()
    assert alive(had)[:2] == [False, False]


def test_s16_signing_out_everywhere_ends_all_sign_ins_and_tokens_only_if_asked():
    user = person("Viewer", password=PASSWORD)
    had, here = signed_in(user), Client()
    sign_in(here, user.username)
    assert here.get(reverse("sign_out_everywhere")).status_code == 405
    here.post(reverse("sign_out_everywhere"))
    assert not stays(here)
    assert alive(had) == [False, False, True]
    user.refresh_from_db()
    had = signed_in(user)
    sign_in(here, user.username)
    here.post(reverse("sign_out_everywhere"), {"tokens": "on"})
    assert alive(had) == [False, False, False]
    assert AuditEvent.objects.filter(action="sign_out_everywhere").count() == 2


def test_s16_an_administrator_signs_others_out_but_no_superuser_unless_one():
    root, user, admin = person("superuser"), person("Viewer"), person("Admin")
    of_root, of_user, client = signed_in(root), signed_in(user), Client()
    client.force_login(admin)
    data = {"action": "sign_out_selected", "_selected_action": [root.pk, user.pk]}
    client.post(reverse("admin:access_user_changelist"), data)
    assert alive(of_user) == [False, False, False]
    assert alive(of_root) == [True, True, True]


def test_s16_pages_of_the_door_have_no_inline_script_or_style_and_are_not_stored():
    client = Client()
    client.force_login(person("Viewer", password=PASSWORD))
    for page in (Client().get("/login"), client.get(reverse("account"))):
        text = page.content.decode()
        assert "no-store" in page["Cache-Control"]
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", text)
    assert ApiToken.objects.count() == 0
