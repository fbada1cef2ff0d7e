"""REST: variables. Values come back as text; secret ones (by name, or inside) are masked."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field as Constraint
from pydantic import field_validator

from apps.access import actions
from apps.access.masking import mask_text
from apps.access.models import Variable
from apps.access.rest.body import Body
from apps.access.rest.bulk import BULK_SCHEMA, BulkBody, bulk_by_name, run_bulk
from apps.access.rest.errors import bad_request, not_found
from apps.access.rest.fields import constant, text
from apps.access.rest.filters import Pattern
from apps.access.rest.operations import Call, operation
from apps.access.rest.owned import Owned
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource

OWNED = Owned("variable", Variable, "key", "The Variable with key: `{}` was not found")
VARIABLES = Resource(
    "variables",
    rows=OWNED.rows,
    fields=(
        text("key"),
        text("value", lambda v: mask_text(v.value, v.key), null=True),
        text("description", null=True),
        constant("is_encrypted", True),
        text("team_name", null=True),
    ),
    filters=(Pattern("variable_key", "key"),),
    orders={"key": "key", "id": "id", "description": "description", "_val": "id", "is_encrypted": "id", "team_name": "team_name"},
    default_order=("id",),
)


class VariableBody(Body):
    """A variable; the value is any JSON."""

    key: Annotated[str, Constraint(max_length=250)]
    value: Any
    description: str | None = None
    team_name: Annotated[str, Constraint(max_length=50)] | None = None

    @field_validator("key")
    @classmethod
    def _key_is_usable(cls, key: str) -> str:
        if not key.strip():
            raise ValueError("the key must not be empty")
        return key

    def values(self, mask: list[str] | None = None, *, all_fields: bool = False) -> dict[str, Any]:
        """Column values: what was sent (or every field), limited to the mask."""
        names = set(type(self).model_fields) if all_fields else set(self.model_fields_set)
        return {n: getattr(self, n) for n in names - {"key"} if mask is None or n in mask}


@operation("GET /variables", may=("read", "variable"), query=VARIABLES.query, returns=VARIABLES.list_schema)
def get_variables(call: Call) -> dict[str, Any]:
    """List variables."""
    return VARIABLES.page(call)


@operation("POST /variables", may=("edit", "variable"), body=VariableBody, status=201, returns=VARIABLES.schema)
def post_variable(call: Call) -> dict[str, Any]:
    """Create a variable."""
    with OWNED.held(call, "edit", call.body.key, values := call.body.values(all_fields=True), new=True):
        variable = actions.create_variable(call.body.key, values, actor=call.actor)
    return VARIABLES.one(variable, call)


@operation("PATCH /variables", may=("edit", "variable"), body=BulkBody[VariableBody], returns=BULK_SCHEMA)
def bulk_variables(call: Call) -> dict[str, Any]:
    """Create, change and delete variables in one call."""
    actor = call.actor

    def create(name: str, body: VariableBody) -> None:
        with OWNED.held(call, "edit", name, values := body.values(all_fields=True), new=True):
            actions.create_variable(name, values, actor=actor)

    def update(name: str, body: VariableBody, mask: list[str] | None) -> None:
        with OWNED.held(call, "edit", name, values := body.values(mask)):
            actions.update_variable(name, values, actor=actor)

    def delete(name: str) -> None:
        with OWNED.held(call, "delete", name):
            actions.delete_variable(name, actor=actor)

    kind = bulk_by_name("variables", "key", OWNED.rows(call), "key", create=create, update=update, delete=delete, sees_own_work=True)
    return run_bulk(kind, call.body)


@operation("GET /variables/{variable_key:path}", may=("read", "variable"), returns=VARIABLES.schema)
def get_variable(call: Call, variable_key: str) -> dict[str, Any]:
    """One variable."""
    variable = OWNED.rows(call).filter(key=variable_key).first()
    if variable is None:
        raise not_found(OWNED.missing.format(variable_key))
    return VARIABLES.one(variable, call)


@operation(
    "PATCH /variables/{variable_key:path}",
    may=("edit", "variable"),
    query=(Param("update_mask", many=True),),
    body=VariableBody,
    returns=VARIABLES.schema,
)
def patch_variable(call: Call, variable_key: str) -> dict[str, Any]:
    """Change a variable. A masked value keeps the old one."""
    if call.body.key != variable_key:
        raise bad_request("Invalid body, key from request body doesn't match uri parameter")
    mask = call.query["update_mask"]
    if mask and "key" in mask:
        raise bad_request("Update not allowed: the key of a variable cannot be changed. Take it out of update_mask.")
    values = call.body.values(mask)
    with OWNED.held(call, "edit", variable_key, values):
        return VARIABLES.one(actions.update_variable(variable_key, values, actor=call.actor), call)


@operation("DELETE /variables/{variable_key:path}", may=("delete", "variable"), status=204)
def delete_variable(call: Call, variable_key: str) -> None:
    """Delete a variable."""
    with OWNED.held(call, "delete", variable_key):
        actions.delete_variable(variable_key, actor=call.actor)
