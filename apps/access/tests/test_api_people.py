"""Accounts, roles and tokens by REST: what the command line does on its own machine, for administrators anywhere."""

from __future__ import annotations

import pytest

from apps.access import tokens
from apps.access.models import ApiToken, AuditEvent, IdempotentAnswer, User
from apps.access.tests.resthelp import Own, person

pytestmark = pytest.mark.django_db


def test_an_account_is_made_changed_and_deleted_and_the_trail_names_who_did_it():
    api = Own("Admin")
    status, made = api("POST", "/users", {"username": "ada", "roles": ["Op"], "email": "ada@example.org"})
    assert (status, made["roles"], made["signs_in_with"]) == (201, ["Op"], "password")
    ada = User.objects.get(username="ada")
    assert ada.check_password(made["password"]) and ada.must_change_password
    assert api("PATCH", "/users/ada", {"roles": ["Viewer"]})[1]["roles"] == ["Viewer"]
    assert "password" not in api.get("/users/ada")[1]
    assert api("DELETE", "/users/ada")[0] == 204
    assert api.get("/users/ada")[0] == 404
    trail = AuditEvent.objects.filter(object_id="ada").order_by("id")
    assert [(e.action, e.means) for e in trail] == [("create_user", "rest"), ("change_roles", "rest"), ("delete_user", "rest")]
    assert made["password"] not in "".join(str(e.extra) for e in trail)


def test_a_service_account_has_tokens_and_no_password():
    api = Own("Admin")
    assert api("POST", "/users", {"username": "robot", "signs_in_with": "token", "password": "some long secret"})[0] == 422
    assert api("POST", "/users", {"username": "robot", "signs_in_with": "token"})[1]["password"] is None
    assert [u["username"] for u in api.get("/users", signs_in_with="token")[1]["users"]] == ["robot"]
    status, made = api("POST", "/tokens", {"owner": "robot", "name": "nightly", "scopes": ["read"]})
    assert status == 201 and tokens.user_of(made["token"]).username == "robot"
    (listed,) = api.get("/tokens", owner="robot")[1]["tokens"]
    assert listed["scopes"] == ["read"] and made["token"] not in str(listed)
    assert api("DELETE", f"/tokens/{listed['prefix']}")[1]["revoked_at"] is not None
    assert api.get("/tokens", owner="robot")[1]["tokens"] == []
    assert len(api.get("/tokens", owner="robot", all="true")[1]["tokens"]) == 1
    with pytest.raises(tokens.DeadToken):
        tokens.user_of(made["token"])


def test_roles_of_ones_own_come_and_go_and_the_four_stay():
    api = Own("Admin")
    assert api("POST", "/roles", {"name": "team-a"}) == (201, {"name": "team-a", "members": 0, "built_in": False, "rights": []})
    assert api("POST", "/roles", {"name": "team-a"})[0] == 409
    assert {"Viewer", "team-a"} <= {r["name"] for r in api.get("/roles")[1]["roles"]}
    assert api("DELETE", "/roles/team-a")[0] == 204
    assert api("DELETE", "/roles/Viewer")[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/users", {"username": "x", "password": "short"}, 400),
        ("POST", "/users", {"username": "x", "roles": ["nobody-has-this"]}, 404),
        ("POST", "/users", {"username": "sp ace"}, 400),
        ("POST", "/tokens", {"owner": "nobody", "name": "n"}, 404),
        ("POST", "/tokens", {"owner": "nobody", "name": "n", "expires_at": "soon"}, 422),
        ("PATCH", "/users/nobody", {"roles": []}, 404),
        ("DELETE", "/tokens/nothing", None, 404),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(method, path, body, status):
    found, answer = Own("Admin")(method, path, body)
    assert found == status and answer["detail"]


def test_a_secret_that_is_shown_once_is_not_kept_for_a_repeated_call():
    api = Own("Admin")
    for path, body in (("/tokens", {"owner": "x", "name": "n"}), ("/users", {"username": "x"})):
        assert api.call("POST", path, body, headers={"Idempotency-Key": "again"}).status_code == 422
    assert not IdempotentAnswer.objects.exists() and not ApiToken.objects.exists()


def test_a_token_with_limits_cannot_lift_them_by_making_another():
    admin = person("Admin")
    limited = tokens.make_api_token(admin, "limited", scopes=["read", "create", "edit", "delete"])
    api = Own(token=limited)
    assert api.get("/users")[0] == 200
    assert api("POST", "/tokens", {"owner": admin.username, "name": "free"})[0] == 403
    assert api("POST", "/users", {"username": "second", "roles": ["Admin"]})[0] == 403
    assert api("PATCH", f"/users/{admin.username}", {"roles": ["Viewer"]})[0] == 403
