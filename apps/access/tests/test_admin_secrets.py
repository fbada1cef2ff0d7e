"""What the admin does with secrets: they go in and are nowhere to be seen afterwards."""

from __future__ import annotations

import json

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.db import connection as database
from django.test import Client
from django.urls import reverse

from apps.access.models import ApiToken, AuditEvent, Connection, User, Variable

PASSWORD = "pass-canary-7f3a"
EXTRA = "extra-canary-91bc"
VALUE = "value-canary-c0de"

pytestmark = pytest.mark.django_db


def person(role: str | None = "Op", **fields) -> User:
    user = User.objects.create_user(f"person-{role}-{User.objects.count()}", password="correct horse battery", **fields)
    if role:
        user.groups.add(Group.objects.get(name=role))
    return user


@pytest.fixture
def op() -> Client:
    client = Client()
    client.force_login(person("Op"))
    return client


def connection_fields(**fields) -> dict[str, object]:
    return {"conn_id": "warehouse", "conn_type": "postgres", "host": "db.example", "port": 5432, "schema": "dwh", **fields}


def stored() -> Connection:
    return Connection(conn_id="warehouse", conn_type="postgres", host="db.example", password=PASSWORD, extra=json.dumps({"sslmode": EXTRA}))


def change_url(obj) -> str:
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=(obj.pk,))


def everything_about(client: Client, obj) -> str:
    """Every page that shows the object, and both trails."""
    name = f"admin:{obj._meta.app_label}_{obj._meta.model_name}"
    urls = [reverse(f"{name}_changelist"), *(reverse(f"{name}_{page}", args=(obj.pk,)) for page in ("change", "history", "delete"))]
    answers = [client.get(url) for url in [*urls, reverse("admin:index")]]
    assert all(answer.status_code == 200 for answer in answers)
    trails = [*LogEntry.objects.values_list("object_repr", "change_message"), *AuditEvent.objects.values_list("object_id", "extra")]
    return "".join(answer.content.decode() for answer in answers) + str(trails)


def test_a_new_connection_keeps_its_secrets_encrypted_and_shows_them_nowhere(op):
    fields = connection_fields(new_password=PASSWORD, new_extra=json.dumps({"role": EXTRA}))
    assert op.post(reverse("admin:access_connection_add"), fields).status_code == 302
    made = Connection.objects.get()
    assert (made.password, json.loads(made.extra)) == (PASSWORD, {"role": EXTRA})
    with database.cursor() as cursor:
        cursor.execute("SELECT password || extra FROM access_connection")
        ciphertext = cursor.fetchone()[0]
    assert PASSWORD not in ciphertext and EXTRA not in ciphertext
    seen = everything_about(op, made)
    assert PASSWORD not in seen and EXTRA not in seen
    assert "Keys stored: role" in seen


def test_a_wrong_field_does_not_send_the_typed_secrets_back(op):
    fields = connection_fields(port="many", new_password=PASSWORD, new_extra=f'{{"broken": "{EXTRA}"', extra__sslmode=EXTRA)
    answer = op.post(reverse("admin:access_connection_add"), fields)
    text = answer.content.decode()
    assert answer.status_code == 200 and "This is not JSON" in text and "whole number" in text
    assert PASSWORD not in text and EXTRA not in text


def test_a_refused_choice_is_not_quoted(op):
    answer = op.post(reverse("admin:access_connection_add"), connection_fields(extra__sslmode=EXTRA))
    assert answer.status_code == 200 and EXTRA not in answer.content.decode()


def test_empty_secret_fields_keep_what_is_stored(op):
    made = stored()
    made.save()
    assert op.post(change_url(made), connection_fields(host="elsewhere.example")).status_code == 302
    made.refresh_from_db()
    assert (made.host, made.password, json.loads(made.extra)) == ("elsewhere.example", PASSWORD, {"sslmode": EXTRA})


def test_boxes_clear_the_stored_secrets(op):
    made = stored()
    made.save()
    assert op.post(change_url(made), connection_fields(clear_password="on", clear_extra="on")).status_code == 302
    made.refresh_from_db()
    assert (made.password, made.extra) == (None, None)


def test_a_new_secret_and_its_box_at_once_are_refused_without_changing_anything(op):
    made = stored()
    made.save()
    answer = op.post(change_url(made), connection_fields(new_password="other-canary", clear_password="on"))
    assert answer.status_code == 200 and "other-canary" not in answer.content.decode()
    made.refresh_from_db()
    assert made.password == PASSWORD


def test_a_field_of_the_type_changes_its_key_of_extra_and_no_other(op):
    made = Connection.objects.create(conn_id="warehouse", conn_type="postgres", extra=json.dumps({"sslmode": "disable", "kept": EXTRA}))
    assert op.post(change_url(made), connection_fields(extra__sslmode="require", extra__connect_timeout="7")).status_code == 302
    made.refresh_from_db()
    assert json.loads(made.extra) == {"sslmode": "require", "kept": EXTRA, "connect_timeout": 7}


def test_the_form_speaks_the_words_of_the_type(op):
    add = reverse("admin:access_connection_add")
    assert "Secret access key" in op.get(add, {"conn_type": "aws"}).content.decode()
    unknown = op.get(add, {"conn_type": "our_own_system"}).content.decode()
    assert "Secret access key" not in unknown and "Schema" in unknown and "our_own_system" in unknown


def test_the_id_of_a_connection_cannot_change(op):
    made = stored()
    made.save()
    op.post(change_url(made), connection_fields(conn_id="other"))
    assert Connection.objects.get().conn_id == "warehouse"


def test_a_secret_of_a_lost_key_can_be_replaced_and_breaks_no_page(op, settings):
    from cryptography.fernet import Fernet

    made, variable = stored(), Variable(key="lost", value=VALUE)
    made.save()
    variable.save()
    settings.FERNET_KEYS = [Fernet.generate_key().decode()]
    for obj in (made, variable):
        assert "none of TRACKSIDE_FERNET_KEYS can read it" in everything_about(op, obj)
    assert op.post(change_url(made), connection_fields(new_password="fresh", clear_extra="on")).status_code == 302
    assert op.post(change_url(variable), {"new_value": "fresh"}).status_code == 302
    assert Connection.objects.get().password == "fresh"
    assert Variable.objects.get().value == "fresh"


@pytest.mark.parametrize(("key", "value"), [("api_key_of_shop", VALUE), ("settings", json.dumps({"db": {"password": VALUE}}))])
def test_a_variable_that_is_a_secret_is_write_only(op, key, value):
    assert op.post(reverse("admin:access_variable_add"), {"key": key, "new_value": value}).status_code == 302
    made = Variable.objects.get()
    assert made.value == value
    assert VALUE not in everything_about(op, made)
    assert op.post(change_url(made), {"new_value": "", "description": "new"}).status_code == 302
    made.refresh_from_db()
    assert (made.value, made.description) == (value, "new")
    assert op.post(change_url(made), {"new_value": "", "clear_value": "on"}).status_code == 302
    made.refresh_from_db()
    assert made.value == ""


def test_a_secret_variable_with_a_wrong_field_is_not_sent_back(op):
    answer = op.post(reverse("admin:access_variable_add"), {"key": "token" + "x" * 300, "new_value": VALUE})
    assert answer.status_code == 200 and VALUE not in answer.content.decode()


def test_an_ordinary_variable_is_shown_with_a_word_on_its_json(op):
    made = Variable.objects.create(key="regions", value='["eu", "us"]')
    seen = everything_about(op, made)
    assert "eu" in seen and "a list of 2 items" in seen
    made.value = '{"eu": '
    made.save()
    assert "Looks like JSON but is not" in everything_about(op, made)


def test_a_variable_keeps_its_key_so_that_no_secret_becomes_ordinary(op):
    made = Variable.objects.create(key="shop_password", value=VALUE)
    answer = op.post(change_url(made), {"key": "shop", "new_value": ""}, follow=True)
    assert VALUE not in answer.content.decode()
    assert Variable.objects.get().key == "shop_password"


def test_a_token_is_shown_once_and_never_again():
    client = Client()
    owner = person("Admin")
    client.force_login(owner)
    answer = client.post(reverse("admin:access_apitoken_add"), {"user": owner.pk, "name": "ci", "scopes": ["read"]})
    made = ApiToken.objects.get()
    found = [word for word in answer.content.decode().split('"') if word.startswith(f"trk_{made.prefix}_")]
    assert len(found) == 1 and "no-store" in answer["Cache-Control"]
    from apps.access import tokens

    assert tokens.user_of(found[0]) == owner and made.scopes == ["read"]
    seen = client.get(reverse("admin:access_apitoken_changelist")).content.decode() + client.get(change_url(made)).content.decode()
    seen += str(list(LogEntry.objects.values())) + str(list(AuditEvent.objects.values()))
    assert made.prefix in seen and found[0] not in seen and made.secret_hash not in seen
    client.post(reverse("admin:access_apitoken_changelist"), {"action": "revoke_selected", "_selected_action": [made.pk]})
    with pytest.raises(tokens.DeadToken):
        tokens.user_of(found[0])
    assert AuditEvent.objects.filter(action="revoke_api_token", object_id=str(made)).count() == 1


def test_neither_a_password_nor_its_hash_is_on_a_users_pages():
    client = Client()
    client.force_login(person(None, is_superuser=True))
    other = person("User")
    url = reverse("admin:auth_user_password_change", args=(other.pk,))
    answer = client.post(url, {"password1": PASSWORD, "password2": PASSWORD + "x", "usable_password": "true"})
    assert answer.status_code == 200 and PASSWORD not in answer.content.decode()
    assert client.post(url, {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}).status_code == 302
    other.refresh_from_db()
    assert other.check_password(PASSWORD)
    seen = everything_about(client, other)
    assert PASSWORD not in seen and "argon2" not in seen and other.password not in seen
    assert AuditEvent.objects.filter(action="patch_user", object_id=other.username, means="admin").exists()
