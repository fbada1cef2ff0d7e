"""`manage.py create_user`: a user with one role, whose password never was an argument."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command

from apps.access.models import AuditEvent, User

pytestmark = pytest.mark.django_db


def create(monkeypatch: pytest.MonkeyPatch, password: str, **options: object) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    out = io.StringIO()
    call_command("create_user", stdout=out, **options)
    return out.getvalue()


def test_the_password_comes_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    said = create(monkeypatch, "a long enough one", username="ada", role="Op")
    user = User.objects.get(username="ada")
    assert user.check_password("a long enough one")
    assert [group.name for group in user.groups.all()] == ["Op"]
    assert not user.must_change_password
    assert "a long enough one" not in said


def test_it_leaves_a_trail_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    create(monkeypatch, "a long enough one", username="ada")
    event = AuditEvent.objects.get(action="create_user")
    assert (event.object_id, event.means, event.extra) == ("ada", "cli", {"role": "Viewer"})


def test_a_random_password_is_shown_and_must_be_changed() -> None:
    out = io.StringIO()
    call_command("create_user", username="bot", random_password=True, stdout=out)
    user = User.objects.get(username="bot")
    assert user.must_change_password
    assert user.check_password(out.getvalue().split()[-1])


@pytest.mark.parametrize(("name", "password"), [("ada", "12345"), ("ada", ""), ("no spaces please", "a long enough one")])
def test_what_cannot_be_a_user_is_refused_and_nothing_is_made(monkeypatch: pytest.MonkeyPatch, name: str, password: str) -> None:
    with pytest.raises(CommandError):
        create(monkeypatch, password, username=name)
    assert not User.objects.exists()


def test_a_name_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    create(monkeypatch, "a long enough one", username="ada")
    with pytest.raises(CommandError, match="already"):
        create(monkeypatch, "another long one", username="ada")


def test_programs_get_json_with_the_password_that_was_made_up_and_none_that_was_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("create_user", username="bot", random_password=True, output="json")
    made = json.loads(capsys.readouterr().out)
    assert User.objects.get(username="bot").check_password(made.pop("password"))
    assert made == {"username": "bot", "roles": ["Viewer"], "signs_in_with": "password", "email": ""}
    create(monkeypatch, "a long enough one", username="ada", output="json")
    assert json.loads(capsys.readouterr().out)["password"] is None
    call_command("create_user", username="robot", signs_in_with="token", output="json")
    assert json.loads(capsys.readouterr().out)["signs_in_with"] == "token"
