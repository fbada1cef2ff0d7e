"""Secrets at rest: ciphertext only, and a rotation of keys that may be killed at any row (S12)."""

from __future__ import annotations

import io
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection

from apps.access import crypto, rotation
from apps.access.audit import Actor
from apps.access.models import AuditEvent, Connection, Variable

pytestmark = pytest.mark.django_db
ACTOR = Actor("ada", "cli")
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def stored(settings: Any) -> Any:
    settings.FERNET_KEYS = [OLD]
    for n in range(5):
        Connection.objects.create(conn_id=f"c{n}", conn_type="http", password=f"p{n}-canary", extra='{"k": "e-canary"}')
        Variable.objects.create(key=f"v{n}", value=f"v{n}-canary")
    Connection.objects.create(conn_id="without", conn_type="http")
    Variable.objects.create(key="empty", value="")
    settings.FERNET_KEYS = [NEW, OLD]
    return settings


def readable() -> bool:
    passwords = {f"p{n}-canary" for n in range(5)} | {None}
    values = {f"v{n}-canary" for n in range(5)} | {""}
    return {c.password for c in Connection.objects.all()} == passwords and {v.value for v in Variable.objects.all()} == values


def test_s12_the_tables_hold_ciphertext_only(stored):
    with connection.cursor() as cursor:
        for table in ("access_connection", "access_variable"):
            cursor.execute(f"SELECT t::text FROM {table} t")
            assert "canary" not in str(cursor.fetchall())


def test_s12_after_the_rotation_the_old_key_can_go(stored):
    out = io.StringIO()
    call_command("rotate_secrets", "--dry-run", stdout=out)
    assert "15 secrets would be" in out.getvalue() and rotation.run(actor=ACTOR, dry_run=True).rotated == 15
    call_command("rotate_secrets", stdout=out)
    stored.FERNET_KEYS = [NEW]
    assert readable()
    again = rotation.run(actor=ACTOR, bite=2)
    assert (again.rotated, again.current, again.unreadable) == (0, 15, [])
    assert AuditEvent.objects.filter(action="rotate_secrets").first().extra == {"rotated": 15, "unreadable": []}


@pytest.mark.parametrize("kill_at", [1, 4, 9, 14])
def test_s12_a_rotation_that_is_killed_leaves_everything_readable_and_is_finished_by_the_next(stored, monkeypatch, kill_at):
    calls, plain = [0], crypto.rotate

    def dying(text: str) -> str:
        calls[0] += 1
        if calls[0] == kill_at:
            raise KeyboardInterrupt
        return plain(text)

    monkeypatch.setattr(crypto, "rotate", dying)
    with pytest.raises(KeyboardInterrupt):
        rotation.run(actor=ACTOR, bite=2)
    assert readable()
    monkeypatch.setattr(crypto, "rotate", plain)
    assert rotation.run(actor=ACTOR, bite=2).rotated <= 15
    stored.FERNET_KEYS = [NEW]
    assert readable()


def test_s12_a_secret_that_no_key_opens_is_named_and_holds_nobody_up(stored):
    lost = "v1:" + Fernet(Fernet.generate_key()).encrypt(b"x").decode()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE access_variable SET value = %s WHERE key = 'v0'", [lost])
    broken = Variable.objects.only("pk").get(key="v0").pk
    with pytest.raises(CommandError, match=f"TRACKSIDE_FERNET_KEYS: variable {broken} value"):
        call_command("rotate_secrets", stdout=io.StringIO())
    stored.FERNET_KEYS = [NEW]
    assert Variable.objects.get(key="v1").value == "v1-canary"
