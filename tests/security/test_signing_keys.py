"""S27: a token is good only if this site signed it with its key, for this use, and for now."""

from __future__ import annotations

import base64
import json
import os
import uuid
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings as site
from django.utils.timezone import now

from apps.access import tokens
from apps.access.tests.resthelp import Api, person
from apps.runs.tests.test_execution_routes import PATHS, call, in_this_thread  # noqa: F401
from trackside.runner.parsing.settings import clean_environment

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")]


def status(token: str) -> int:
    return Api(token=token).call("GET", "/pools").status_code


def claims(user: Any, **changed: Any) -> dict[str, Any]:
    good = jwt.decode(tokens.issue(user), options={"verify_signature": False})
    return {k: v for k, v in {**good, **changed}.items() if v is not None}


def part(data: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def test_s27_the_key_of_the_site_opens_and_no_other_does():
    user = person()
    assert status(jwt.encode(claims(user), site.JWT_KEY, algorithm="HS256")) == 200
    for key in ("", "secret", "trackside", site.SECRET_KEY, site.WORKER_TOKEN, site.JWT_KEY[:-1], site.JWT_KEY + " ", *site.FERNET_KEYS):
        forged = jwt.api_jws.PyJWS().encode(json.dumps(claims(user)).encode(), key.encode() or b"\0", algorithm="HS256")
        assert status(forged) in (401, 403), key


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_s27_a_token_without_a_signature_is_none(algorithm):
    user = person()
    body = f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims(user))}"
    for signature in ("", "x", base64.urlsafe_b64encode(b"\0" * 32).decode().rstrip("=")):
        assert status(f"{body}.{signature}") in (401, 403)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_s27_the_algorithm_is_pinned(algorithm):
    assert status(jwt.encode(claims(person()), site.JWT_KEY * 2, algorithm=algorithm)) in (401, 403)
    assert status(jwt.encode(claims(person()), (site.JWT_KEY * 2)[: len(site.JWT_KEY)], algorithm=algorithm)) in (401, 403)


def test_s27_the_header_brings_no_key_of_its_own():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    for header in ({"jwk": public}, {"jku": "http://127.0.0.1/keys"}, {"kid": "../../../../dev/null"}, {"kid": "' OR 1=1"}, {"x5u": "file:///x"}):
        assert status(jwt.encode(claims(person()), key, algorithm="RS256", headers=header)) in (401, 403)
        empty = jwt.api_jws.PyJWS().encode(json.dumps(claims(person())).encode(), b"\0", algorithm="HS256", headers=header)
        assert status(empty) in (401, 403)


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": timedelta(seconds=-5)}, {"nbf": timedelta(hours=1)}, {"iat": timedelta(hours=1)}, {"aud": "other"},
        {"aud": None}, {"iss": "other"}, {"iss": None}, {"exp": None}, {"sub": None}, {"jti": None}, {"pwd": None}, {"pwd": "x" * 16},
        {"sub": "0"}, {"sub": "-1"}, {"sub": "1 OR 1=1"}, {"sub": "9" * 40}, {"sub": "\u0661"}, {"exp": "never"},
    ],
    ids=str,
)  # fmt: skip
def test_s27_claims_that_are_missing_past_or_for_somebody_else_are_refused(changed):
    changed = {claim: now() + value if isinstance(value, timedelta) else value for claim, value in changed.items()}
    user = person()
    try:
        token = jwt.encode(claims(user, **changed), site.JWT_KEY, algorithm="HS256")
    except TypeError:
        token = f"{part({'alg': 'HS256'})}.{part({**claims(user), **changed})}.x"
    assert status(token) in (401, 403)


def test_s27_a_token_of_one_door_does_not_open_the_other(in_this_thread):  # noqa: F811
    rest = tokens.issue(person())
    for method, path in PATHS:
        filled = path.replace("{try_id}", str(uuid.UUID(int=1))).replace("{key}", "k").replace("{conn_id}", "c").replace("{dag_id}", "d")
        assert call(method, filled, rest)[0] in (401, 403, 410), path
    for token in (site.WORKER_TOKEN, f"worker.{site.WORKER_TOKEN}", f"{uuid.UUID(int=1)}.x", site.JWT_KEY):
        assert status(token) in (401, 403)


def test_s27_processes_that_run_user_code_hold_no_key(monkeypatch):
    for name in ("TRACKSIDE_JWT_KEY", "TRACKSIDE_SECRET_KEY", "TRACKSIDE_FERNET_KEYS", "TRACKSIDE_WORKER_TOKEN", "DATABASE_URL"):
        monkeypatch.setenv(name, "canary-of-keys")
    assert "canary-of-keys" not in str(clean_environment(os.environ))
