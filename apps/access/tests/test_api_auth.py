"""Who gets in: tokens, sessions, what ends them, and the answers for those who stay outside."""

from __future__ import annotations

import json
from datetime import timedelta

import jwt
import pytest
import time_machine
from django.test import Client
from django.utils.timezone import now

from apps.access import tokens
from apps.access.models import ApiToken, User
from apps.access.tests.resthelp import Api, person

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


def _sign_in(**body):
    return Client().post("/auth/token", json.dumps(body), content_type="application/json")


def test_name_and_password_give_a_token_that_works():
    user = person("Viewer", password=PASSWORD)
    answer = _sign_in(username=user.username, password=PASSWORD)
    assert answer.status_code == 201
    assert Api(token=answer.json()["access_token"]).get("/dags")[0] == 200


def test_a_wrong_password_an_unknown_name_and_a_missing_field_are_refused():
    user = person("Viewer", password=PASSWORD)
    assert _sign_in(username=user.username, password="wrong").status_code == 401
    assert _sign_in(username="nobody", password="wrong").status_code == 401
    missing = _sign_in(username="nobody")
    assert (missing.status_code, missing.json()["detail"][0]["loc"]) == (422, ["body", "password"])


@pytest.mark.parametrize(
    ("header", "status"), [(None, 401), ("Basic YTpi", 401), ("Bearer", 401), ("Bearer x.y.z", 403), ("Bearer trk_a_b", 401)]
)
def test_bad_credentials_are_401_and_undecodable_ones_403(header, status):
    answer = Client().get("/api/v2/dags", headers={"Authorization": header} if header else {})
    assert (answer.status_code, type(answer.json()["detail"])) == (status, str)


def test_tokens_signed_with_another_key_algorithm_or_audience_are_refused():
    user = person("Admin")
    good = jwt.decode(tokens.issue(user), options={"verify_signature": False})
    for forged in (
        jwt.encode(good, "x" * 48, algorithm="HS256"),
        jwt.encode(good, None, algorithm="none"),
        jwt.encode({**good, "aud": "other"}, "x" * 48, algorithm="HS256"),
    ):
        assert Api(token=forged).get("/dags")[0] == 403


def test_a_token_ends_with_its_time_its_sign_out_its_password_and_its_owner():
    user = person("Viewer")
    old = tokens.issue(user, lifetime=timedelta(minutes=5))
    with time_machine.travel(now() + timedelta(minutes=6), tick=False):
        assert Api(token=old).get("/dags")[0] == 401
    signed_out = Api(user=user)
    assert signed_out.get("/dags")[0] == 200
    assert signed_out.call("GET", "/auth/logout").status_code == 307
    assert signed_out.get("/dags")[0] == 401
    token = Api(user=user)
    user.set_password("another password")
    user.save()
    assert token.get("/dags")[0] == 401
    token = Api(user=user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert token.get("/dags")[0] == 401


def test_api_tokens_work_until_revoked_or_expired_and_only_within_their_scopes():
    user = person("Op")
    full, reader = tokens.make_api_token(user, "full"), tokens.make_api_token(user, "reader", scopes=["read"])
    pool = {"name": "p", "slots": 1}
    assert Api(token=reader).get("/pools")[0] == 200
    assert Api(token=reader)("POST", "/pools", pool)[0] == 403
    assert Api(token=full)("POST", "/pools", pool)[0] == 201
    stored = ApiToken.objects.get(name="full")
    assert stored.last_used_at is not None
    assert stored.secret_hash not in full
    assert Api(token=full[:-1] + "x").get("/pools")[0] == 401
    ApiToken.objects.filter(name="full").update(revoked_at=now())
    ApiToken.objects.filter(name="reader").update(expires_at=now() - timedelta(seconds=1))
    assert Api(token=full).get("/pools")[0] == Api(token=reader).get("/pools")[0] == 401


def test_a_session_may_read_but_needs_the_csrf_token_to_change_something():
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("Op"))
    assert client.get("/api/v2/pools").status_code == 200
    body = json.dumps({"name": "p", "slots": 1})
    assert client.post("/api/v2/pools", body, content_type="application/json").status_code == 403
    client.cookies[_csrf_cookie()] = "a" * 32
    good = client.post("/api/v2/pools", body, content_type="application/json", headers={"X-CSRFToken": "a" * 32})
    assert good.status_code == 201


def _csrf_cookie() -> str:
    from django.conf import settings

    return settings.CSRF_COOKIE_NAME


def test_a_bad_authorization_header_is_not_saved_by_a_session():
    client = Client()
    client.force_login(person("Admin"))
    assert client.get("/api/v2/dags", headers={"Authorization": "Basic YTpi"}).status_code == 401


def test_sign_in_leads_to_the_page_but_never_to_another_site():
    client = Client()
    assert client.get("/api/v2/auth/login").status_code == 307
    assert client.get("/api/v2/auth/login?next=/dags").headers["Location"].endswith("next=%2Fdags")
    for evil in ("http://evil.example.com/", "//evil.example.com", "/\\evil.example.com"):
        assert client.get("/api/v2/auth/login", {"next": evil}).status_code == 400


def test_only_version_health_and_the_sign_in_pages_need_no_credentials():
    from apps.access.rest.operations import PUBLIC, REGISTRY
    from apps.ui.api import urls

    assert urls.urlpatterns
    public = {op.id for op in REGISTRY if op.may == PUBLIC}
    assert public == {"get_version", "get_health", "login", "logout"}
    for op in REGISTRY:
        if op.id in public:
            continue
        path = op.base + op.path.replace(":path", "").replace("{", "").replace("}", "")
        answer = Client().generic(op.method, path)
        assert answer.status_code == 401, (op.id, answer.content)
