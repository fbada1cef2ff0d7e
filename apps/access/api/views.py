"""REST: saved views of the lists: one's own, and those that are shared. Each is one domain call of `apps.access.savedviews`.

Everybody who may read may keep views for themselves; sharing, and changing what others shared, needs the right to (an Op or Admin).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.db.models import QuerySet
from pydantic import Field as Constraint

from apps.access import policy, savedviews
from apps.access.models import DefaultView, SavedView
from apps.access.rest.body import Body
from apps.access.rest.errors import Problem, flaw, invalid, not_found
from apps.access.rest.fields import anything, flag, text, whole
from apps.access.rest.filters import Equals
from apps.access.rest.operations import OWN, Call, operation
from apps.access.rest.resources import Resource

READ = ("read", "view")


def _rows(call: Call) -> QuerySet[SavedView]:
    return savedviews.seen(call.person).filter(page__in=[page for page in savedviews.FILTERS if savedviews.may_open(call.person, page)])


def _attach(rows: list[Any], call: Call) -> None:
    chosen = set(DefaultView.objects.filter(person=call.person, view__in=rows).values_list("view_id", flat=True))
    for row in rows:
        row.is_default = row.pk in chosen


VIEWS = Resource(
    "views",
    rows=_rows,
    fields=(
        whole("view_id", "pk"),
        text("page", words=savedviews.FILTERS),
        text("name"),
        anything("filters"),
        flag("shared"),
        text("owner", "owner.username"),
        flag("is_default"),
    ),
    filters=(Equals("page", "page"),),
    orders={"name": "name", "page": "page", "view_id": "pk"},
    default_order=("page", "name"),
    attach=_attach,
)
Page = Literal["dags", "runs", "tasks", "audit"]
_Name = Annotated[str, Constraint(min_length=1, max_length=100)]
_Filters = Annotated[dict[str, Annotated[str, Constraint(max_length=savedviews.LONGEST)]], Constraint(max_length=10)]


class ViewBody(Body):
    """A view of one's own. Filters are the parameters of the list's address, such as `state` of tasks."""

    page: Page
    name: _Name
    filters: _Filters
    shared: bool = False
    is_default: bool = False
    """The list opens with it, for oneself."""


class ViewPatchBody(Body):
    """What is sent replaces what was."""

    name: _Name | None = None
    filters: _Filters | None = None
    shared: bool | None = None
    is_default: bool | None = None


def _scoped(call: Call, action: str) -> None:
    """A token that is limited by scopes changes views only if it may do such things at all."""
    scopes = getattr(call.user, "token_scopes", None)
    if scopes and action not in scopes:
        raise Problem(403, "Forbidden")


def _filters(page: str, given: dict[str, str]) -> dict[str, str]:
    """Raises Problem 422 for what is no filter of that list."""
    allowed = savedviews.FILTERS[page]
    wrong = [name for name in given if name not in allowed]
    if wrong:
        raise invalid(*(flaw(("body", "filters", name), f"the list has no such filter; it has {', '.join(allowed)}") for name in wrong))
    return savedviews.known(page, given)


def _one(call: Call, view_id: int) -> SavedView:
    found = VIEWS.rows(call).filter(pk=view_id).first() if VIEWS.rows else None
    if found is None:
        raise not_found(f"There is no view {view_id} that you may see. GET /views lists those that there are.")
    return found


@operation("GET /views", base=OWN, may=READ, query=VIEWS.query, returns=VIEWS.list_schema)
def list_views(call: Call) -> dict[str, Any]:
    """Saved views of the lists: one's own, and those that are shared."""
    return VIEWS.page(call)


@operation("GET /views/{view_id}", base=OWN, may=READ, path={"view_id": int}, returns=VIEWS.schema)
def get_view(call: Call, view_id: int) -> dict[str, Any]:
    """One saved view."""
    return VIEWS.one(_one(call, view_id), call)


@operation("POST /views", base=OWN, may=READ, body=ViewBody, status=201, returns=VIEWS.schema, errors=(400, 403, 409))
def create_view(call: Call) -> dict[str, Any]:
    """Save the filters of a list under a name. 409 if there is a view of that list with that name."""
    _scoped(call, policy.CREATE)
    body: ViewBody = call.body
    if not savedviews.may_open(call.person, body.page):
        raise Problem(403, "Forbidden")
    view = savedviews.save(
        call.person, call.actor, body.page, body.name, _filters(body.page, body.filters), shared=body.shared, replace=False
    )
    if body.is_default:
        savedviews.set_default(call.person, call.actor, view.pk)
    return VIEWS.one(_one(call, view.pk), call)


@operation("PATCH /views/{view_id}", base=OWN, may=READ, path={"view_id": int}, body=ViewPatchBody, returns=VIEWS.schema, errors=(400, 409))
def change_view(call: Call, view_id: int) -> dict[str, Any]:
    """Change a view, or let its list open with it (`is_default`, which may be any view that one sees)."""
    _scoped(call, policy.EDIT)
    body: ViewPatchBody = call.body
    view = _one(call, view_id)
    if any(value is not None for value in (body.name, body.filters, body.shared)):
        filters = None if body.filters is None else _filters(view.page, body.filters)
        savedviews.change(call.person, call.actor, view_id, name=body.name, filters=filters, shared=body.shared)
    if body.is_default is not None:
        savedviews.set_default(call.person, call.actor, view_id, body.is_default)
    return VIEWS.one(_one(call, view_id), call)


@operation("DELETE /views/{view_id}", base=OWN, may=READ, path={"view_id": int}, status=204)
def delete_view(call: Call, view_id: int) -> None:
    """Delete an own view, or a shared one with the right to."""
    _scoped(call, policy.DELETE)
    _one(call, view_id)
    savedviews.delete(call.person, call.actor, view_id)
