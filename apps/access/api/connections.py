"""REST: connections. Passwords and secret parts of extra go in and never come out."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field as Constraint
from pydantic import field_validator

from apps.access import actions
from apps.access.errors import Exists
from apps.access.masking import MASK, mask_text
from apps.access.models import Connection
from apps.access.rest.body import Body, SmallInt
from apps.access.rest.bulk import BULK_SCHEMA, BulkBody, bulk_by_name, run_bulk
from apps.access.rest.errors import Problem, bad_request, not_found
from apps.access.rest.fields import text, whole
from apps.access.rest.filters import Pattern
from apps.access.rest.operations import Call, operation
from apps.access.rest.owned import Owned
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource

OWNED = Owned("connection", Connection, "conn_id", "The Connection with connection_id: `{}` was not found")
CONNECTIONS = Resource(
    "connections",
    rows=OWNED.rows,
    fields=(
        text("connection_id", "conn_id"),
        text("conn_type"),
        text("description", null=True),
        text("host", null=True),
        text("login", null=True),
        text("schema", null=True),
        whole("port", null=True),
        text("password", lambda c: MASK if c.password else None, null=True),
        text("extra", lambda c: mask_text(c.extra), null=True),
        text("team_name", null=True),
    ),
    filters=(Pattern("connection_id", "conn_id"),),
    orders={
        "connection_id": "conn_id",
        "conn_id": "conn_id",
        "conn_type": "conn_type",
        "description": "description",
        "host": "host",
        "port": "port",
        "id": "id",
        "team_name": "team_name",
    },
    default_order=("id",),
)

MASK_PARAM = Param("update_mask", many=True, help="Names of the fields to change; others are left as they are.")


class ConnectionBody(Body):
    """A connection."""

    connection_id: Annotated[str, Constraint(max_length=200, pattern=r"^[\w.-]+$")]
    conn_type: Annotated[str, Constraint(max_length=500)]
    description: str | None = None
    host: Annotated[str, Constraint(max_length=500)] | None = None
    login: str | None = None
    schema_: Annotated[str | None, Constraint(alias="schema", max_length=500)] = None
    port: SmallInt | None = None
    password: str | None = None
    extra: str | None = None
    team_name: Annotated[str, Constraint(max_length=50)] | None = None

    @field_validator("extra")
    @classmethod
    def _extra_is_an_object(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if value == "":
            return "{}"
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("extra must be the JSON text of an object") from None
        if not isinstance(parsed, dict):
            raise ValueError("extra must be the JSON text of an object")
        return value

    def values(self, mask: list[str] | None = None, *, all_fields: bool = False) -> dict[str, Any]:
        """Column values: what was sent (or every field), limited to the mask."""
        names = set(type(self).model_fields) if all_fields else set(self.model_fields_set)
        chosen = {("schema" if n == "schema_" else n): getattr(self, n) for n in names - {"connection_id"}}
        return {n: v for n, v in chosen.items() if mask is None or n in mask}


@operation("GET /connections", may=("read", "connection"), query=CONNECTIONS.query, returns=CONNECTIONS.list_schema)
def get_connections(call: Call) -> dict[str, Any]:
    """List connections."""
    return CONNECTIONS.page(call)


@operation("POST /connections", may=("edit", "connection"), body=ConnectionBody, status=201, returns=CONNECTIONS.schema)
def post_connection(call: Call) -> dict[str, Any]:
    """Create a connection."""
    body: ConnectionBody = call.body
    values = body.values(all_fields=True)
    try:
        with OWNED.held(call, "edit", body.connection_id, values, new=True):
            connection = actions.create_connection(body.connection_id, values, actor=call.actor)
    except Exists as e:
        raise _as_conflict(e) from e
    return CONNECTIONS.one(connection, call)


def _as_conflict(e: Exists) -> Problem:
    """Clients of Airflow expect an object here."""
    message = {
        "reason": "Unique constraint violation",
        "statement": "hidden",
        "orig_error": "hidden",
        "message": e.detail,
    }
    return Problem(409, message)


@operation("PATCH /connections", may=("edit", "connection"), body=BulkBody[ConnectionBody], returns=BULK_SCHEMA)
def bulk_connections(call: Call) -> dict[str, Any]:
    """Create, change and delete connections in one call."""
    actor = call.actor

    def create(name: str, body: ConnectionBody) -> None:
        with OWNED.held(call, "edit", name, values := body.values(all_fields=True), new=True):
            actions.create_connection(name, values, actor=actor)

    def update(name: str, body: ConnectionBody, mask: list[str] | None) -> None:
        with OWNED.held(call, "edit", name, values := body.values(mask)):
            actions.update_connection(name, values, actor=actor)

    def delete(name: str) -> None:
        with OWNED.held(call, "delete", name):
            actions.delete_connection(name, actor=actor)

    kind = bulk_by_name("connections", "connection_id", OWNED.rows(call), "conn_id", create=create, update=update, delete=delete)
    return run_bulk(kind, call.body)


@operation("GET /connections/{connection_id}", may=("read", "connection"), returns=CONNECTIONS.schema)
def get_connection(call: Call, connection_id: str) -> dict[str, Any]:
    """One connection."""
    connection = OWNED.rows(call).filter(conn_id=connection_id).first()
    if connection is None:
        raise not_found(OWNED.missing.format(connection_id))
    return CONNECTIONS.one(connection, call)


@operation(
    "PATCH /connections/{connection_id}",
    may=("edit", "connection"),
    query=(MASK_PARAM,),
    body=ConnectionBody,
    returns=CONNECTIONS.schema,
)
def patch_connection(call: Call, connection_id: str) -> dict[str, Any]:
    """Change a connection. Masked or empty passwords keep the old one."""
    if call.body.connection_id != connection_id:
        raise bad_request("The connection_id in the request body does not match the URL parameter")
    values = call.body.values(call.query["update_mask"])
    with OWNED.held(call, "edit", connection_id, values):
        return CONNECTIONS.one(actions.update_connection(connection_id, values, actor=call.actor), call)


@operation("DELETE /connections/{connection_id}", may=("delete", "connection"), status=204)
def delete_connection(call: Call, connection_id: str) -> None:
    """Delete a connection."""
    with OWNED.held(call, "delete", connection_id):
        actions.delete_connection(connection_id, actor=call.actor)


# Connection tests are off: they reach other systems with somebody's secrets. The paths exist, so that clients get a clear answer.


class ConnectionTestBody(ConnectionBody):
    """A connection to test in the background."""

    commit_on_success: bool = False
    executor: str | None = None
    queue: str | None = None


def _tests_are_off() -> Problem:
    return Problem(403, "Testing connections is disabled in Trackside.")


@operation("POST /connections/test", may=("edit", "connection"), body=ConnectionBody)
def test_connection(call: Call) -> None:
    """Refused: connection tests are disabled."""
    raise _tests_are_off()


@operation("POST /connections/enqueue-test", may=("edit", "connection"), body=ConnectionTestBody, status=202)
def enqueue_connection_test(call: Call) -> None:
    """Refused: connection tests are disabled."""
    raise _tests_are_off()


@operation(
    "GET /connections/enqueue-test",
    may=("read", "connection"),
    errors=(404, 422),
    headers={"Airflow-Connection-Test-Token": "Token that the start of the test answered."},
)
def get_connection_test(call: Call) -> None:
    """Never finds anything: connection tests are disabled."""
    if "Airflow-Connection-Test-Token" not in call.request.headers:
        place = ["header", "Airflow-Connection-Test-Token"]
        raise Problem(422, [{"type": "missing", "loc": place, "msg": "Field required"}])
    raise not_found("No connection test has this token.")


@operation("POST /connections/defaults", may=("edit", "connection"), status=204)
def create_default_connections(call: Call) -> None:
    """Airflow's sample connections. Trackside ships none, so nothing is created."""
