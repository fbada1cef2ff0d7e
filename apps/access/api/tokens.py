"""REST: lasting tokens for scripts and service accounts, for administrators. Each is one domain call of `apps.access.people`."""

from __future__ import annotations

from typing import Annotated, Any

from django.db.models import Q
from django.http import HttpResponse
from django.utils.timezone import now
from pydantic import Field as Constraint

from apps.access import people
from apps.access.api.people import Name, shown_once
from apps.access.models import ApiToken
from apps.access.rest.body import Body, Moment
from apps.access.rest.fields import moment, text, texts
from apps.access.rest.filters import Equals
from apps.access.rest.operations import OWN, Call, json_answer, operation
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource

TOKENS = Resource(
    "tokens",
    rows=lambda call: ApiToken.objects.select_related("user"),
    fields=(
        text("prefix"),
        text("owner", "user.username"),
        text("name"),
        texts("scopes"),
        moment("created_at", null=False),
        moment("expires_at"),
        moment("last_used_at"),
        moment("revoked_at"),
    ),
    filters=(Equals("owner", "user__username"),),
    orders={"created_at": "created_at", "owner": "user__username", "name": "name"},
    default_order=("-created_at",),
)
_MADE = {
    "type": "object",
    "title": "TokenMade",
    "properties": {"token": {"type": "string"}, "owner": {"type": "string"}, "name": {"type": "string"},
                   "expires_at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}},
    "required": ["token", "owner", "name", "expires_at"],
}  # fmt: skip


class TokenBody(Body):
    """A token for an account."""

    owner: Name
    name: Annotated[str, Constraint(min_length=1, max_length=100)]
    scopes: Annotated[list[str], Constraint(max_length=20)] = []
    """Limit it to these: read, edit, create, trigger, delete. Empty: all that its owner may."""
    expires_at: Moment | None = None


@operation(
    "GET /tokens", base=OWN, may=("read", "token"), returns=TOKENS.list_schema,
    query=(*TOKENS.query, Param("all", bool, False, help="Also revoked and expired ones.")),
)  # fmt: skip
def list_tokens(call: Call) -> dict[str, Any]:
    """Tokens that still open something. Their texts are stored nowhere."""
    rows = ApiToken.objects.select_related("user")
    if not call.query["all"]:
        rows = rows.filter(Q(expires_at=None) | Q(expires_at__gt=now()), revoked_at=None)
    return TOKENS.page(call, rows)


@operation("POST /tokens", base=OWN, may=("create", "token"), body=TokenBody, status=201, returns=_MADE)
def create_token(call: Call) -> HttpResponse:
    """Make a token. Its text is shown only this once."""
    shown_once(call)
    body: TokenBody = call.body
    made = people.create_token(body.owner, body.name, actor=call.actor, scopes=body.scopes, expires_at=body.expires_at)
    answer = {"token": made, "owner": body.owner, "name": body.name, "expires_at": body.expires_at}
    return json_answer(answer, 201, {"Cache-Control": "no-store"})


@operation("DELETE /tokens/{prefix}", base=OWN, may=("delete", "token"), returns=TOKENS.schema)
def revoke_token(call: Call, prefix: str) -> dict[str, Any]:
    """Refuse a token from now on; `prefix` is how it begins."""
    return TOKENS.one(people.revoke_token(prefix, actor=call.actor), call)
