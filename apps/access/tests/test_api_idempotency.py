"""Mutations under an `Idempotency-Key`: done once, answered the same; refused ones may be sent again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from apps.access import tokens
from apps.access.models import IdempotentAnswer, User, Variable
from apps.access.tests.resthelp import Api

pytestmark = pytest.mark.django_db
BODY = {"key": "k", "value": "v"}


def post(api, key, body=BODY, path="/variables"):
    return api.call("POST", path, body, headers={"Idempotency-Key": key})


def test_the_same_call_is_done_once_and_answered_the_same():
    api = Api("Op")
    first, second = post(api, "one"), post(api, "one")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert "Idempotent-Replayed" not in first.headers and second.headers["Idempotent-Replayed"] == "true"
    assert Variable.objects.count() == 1
    assert post(api, "two").status_code == 409


def test_another_call_under_the_same_key_is_refused():
    api = Api("Op")
    post(api, "one")
    answer = post(api, "one", {**BODY, "value": "w"})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["header", "Idempotency-Key"])
    assert Variable.objects.get().value == "v"


def test_keys_belong_to_one_person():
    post(Api("Op"), "one")
    assert post(Api("Op"), "one").status_code == 409


def test_what_was_refused_can_be_sent_again_under_its_key():
    api = Api("Op")
    other = Variable.objects.create(key="k", value="old")
    assert post(api, "one").status_code == 409
    other.delete()
    assert post(api, "one").status_code == 201


def test_rights_are_asked_before_an_answer_is_given_again():
    api = Api("Op")
    post(api, "one")
    api.user.groups.clear()
    api.token = tokens.issue(User.objects.get(pk=api.user.pk))  # the change ended the sign-in before
    assert post(api, "one").status_code == 403


def test_answers_are_kept_for_a_day():
    api = Api("Op")
    post(api, "one")
    IdempotentAnswer.objects.update(at=now() - timedelta(hours=25))
    assert post(api, "one").status_code == 409


def test_deletions_are_answered_again_without_a_body():
    api = Api("Op")
    Variable.objects.create(key="k", value="v")
    for _ in range(2):
        answer = api.call("DELETE", "/variables/k", headers={"Idempotency-Key": "gone"})
        assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("key", ["", " ", "x" * 201, "ä"])
def test_odd_keys_are_refused(key):
    answer = post(Api("Op"), key)
    assert answer.status_code == 422
