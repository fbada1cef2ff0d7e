"""Create, change and delete connections and variables, for every face; each change leaves an audit event without secrets.

A value that comes back masked (`***`) keeps what is stored: people edit what they were shown. Reading is a query away and
has no call here.
"""

from __future__ import annotations

import json
from typing import Any

from django.db import IntegrityError, transaction

from apps.access import audit
from apps.access.audit import Actor
from apps.access.errors import Exists, NotThere, check_name
from apps.access.masking import MASK, mask, unmask
from apps.access.models import Connection, Variable

CONNECTION_FIELDS = ("conn_type", "description", "host", "schema", "login", "password", "port", "extra", "team_name")
VARIABLE_FIELDS = ("value", "description", "team_name")


# Connections --------------------------------------------------------------------------------------------------------


def _described(values: dict[str, Any]) -> dict[str, Any]:
    """Values for the audit trail; secrets are hidden before anything is written."""
    shown = dict(values)
    if isinstance(shown.get("extra"), str):
        try:
            shown["extra"] = mask(json.loads(shown["extra"]))
        except ValueError:
            shown["extra"] = MASK
    return dict(mask(shown))


def _state_of(connection: Connection) -> dict[str, Any]:
    """A connection for the audit trail. A secret that changed is told apart from one that did not, and not told."""
    values = {name: getattr(connection, name) for name in CONNECTION_FIELDS}
    shown = _described(values)
    secret = "".join(str(values[name] or "") for name in ("password", "extra"))
    return {**shown, "secrets": Sealed(secret)}


class Sealed(str):
    """Compares by the secret it stands for; shows and stores a mask."""

    secret: str

    def __new__(cls, secret: str) -> Sealed:
        """A mask that remembers."""
        made = super().__new__(cls, MASK)
        made.secret = secret
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and self.secret == other.secret

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def create_connection(conn_id: str, values: dict[str, Any], *, actor: Actor) -> Connection:
    """Store a new connection. `values`: some of CONNECTION_FIELDS. Raises Exists, Refused (the id)."""
    check_name(conn_id, "id of the connection", "connection_id")
    with transaction.atomic():
        try:
            with transaction.atomic():
                connection = Connection.objects.create(conn_id=conn_id, **values)
        except IntegrityError as e:
            raise Exists(
                f"A connection with the id {conn_id} exists already. Change it instead, or choose another id."
            ) from e
        audit.record(
            "post_connection", actor, object_type="connection", object_id=conn_id, extra={"after": _described(values)}
        )
    return connection


def update_connection(
    conn_id: str, values: dict[str, Any], *, actor: Actor, no_password_keeps: bool = True
) -> Connection:
    """Change the given fields. A password of null, empty or `***` keeps the old one; `***` inside extra keeps that secret.

    `no_password_keeps=False`: null and empty take the password away (an import says all there is). Raises NotThere.
    """
    with transaction.atomic():
        connection = Connection.objects.select_for_update().filter(conn_id=conn_id).first()
        if connection is None:
            raise NotThere(f"The Connection with connection_id: `{conn_id}` was not found")
        before = _state_of(connection)
        for name, value in values.items():
            if name == "password" and (value == MASK or (no_password_keeps and value in (None, ""))):
                continue
            if name == "extra":
                value = _merged_extra(value, connection.extra)
            setattr(connection, name, value)
        connection.save()
        extra = audit.change(before, _state_of(connection))
        audit.record("patch_connection", actor, object_type="connection", object_id=conn_id, extra=extra)
    return connection


def _merged_extra(new: str | None, old: str | None) -> str | None:
    if not new or not old or MASK not in new:
        return new
    try:
        return json.dumps(unmask(json.loads(new), json.loads(old)))
    except ValueError:
        return new


def delete_connection(conn_id: str, *, actor: Actor) -> None:
    """Remove it. Raises NotThere."""
    with transaction.atomic():
        connection = Connection.objects.select_for_update().filter(conn_id=conn_id).defer("password", "extra").first()
        if connection is None:
            raise NotThere(f"The Connection with connection_id: `{conn_id}` was not found")
        told = {name: getattr(connection, name) for name in CONNECTION_FIELDS if name not in ("password", "extra")}
        connection.delete()
        audit.record("delete_connection", actor, object_type="connection", object_id=conn_id, extra={"before": _described(told)})


# Variables ----------------------------------------------------------------------------------------------------------


def stored_value(value: Any) -> str:
    """Text as tasks read it: text stays, everything else becomes its JSON."""
    return value if isinstance(value, str) else json.dumps(value, indent=2)


def create_variable(key: str, values: dict[str, Any], *, actor: Actor) -> Variable:
    """Store a new variable. `values`: some of VARIABLE_FIELDS, `value` any JSON. Raises Exists, Refused (the key)."""
    check_name(key, "key of the variable", "key")
    with transaction.atomic():
        try:
            with transaction.atomic():
                variable = Variable.objects.create(key=key, **{**values, "value": stored_value(values.get("value"))})
        except IntegrityError as e:
            raise Exists(f"The Variable with key: `{key}` already exists") from e
        extra = audit.change({}, variable_state(variable))
        audit.record("post_variable", actor, object_type="variable", object_id=key, extra=extra)
    return variable


def update_variable(key: str, values: dict[str, Any], *, actor: Actor) -> Variable:
    """Change the given fields; a value that is `***`, or has `***` inside where a secret is, keeps it. Raises NotThere."""
    with transaction.atomic():
        variable = Variable.objects.select_for_update().filter(key=key).first()
        if variable is None:
            raise NotThere(f"The Variable with key: `{key}` was not found")
        before = variable_state(variable)
        for name, value in values.items():
            setattr(variable, name, _merged_value(key, value, variable.value) if name == "value" else value)
        variable.save()
        extra = audit.change(before, variable_state(variable))
        audit.record("patch_variable", actor, object_type="variable", object_id=key, extra=extra)
    return variable


def variable_state(variable: Variable) -> dict[str, Any]:
    """A variable for the audit trail: that the value changed, never the value."""
    return {"value": Sealed(variable.value), "description": variable.description, "team_name": variable.team_name}


def _merged_value(key: str, new: Any, old: str) -> str:
    if new == MASK:
        return old
    text = stored_value(new)
    if MASK not in text:
        return text
    try:
        known = json.loads(old)
        meant = unmask(json.loads(text), known, key)
        return old if meant == known else stored_value(meant)
    except ValueError:
        return text


def delete_variable(key: str, *, actor: Actor) -> None:
    """Remove it. Raises NotThere."""
    with transaction.atomic():
        variable = Variable.objects.select_for_update().filter(key=key).defer("value").first()
        if variable is None:
            raise NotThere(f"The Variable with key: `{key}` was not found")
        before = {"description": variable.description, "team_name": variable.team_name}
        variable.delete()
        audit.record("delete_variable", actor, object_type="variable", object_id=key, extra={"before": before})
