"""REST for saved views: list, create, change, delete, the default; who may what; what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from apps.access import savedviews, tokens
from apps.access.models import AuditEvent, DefaultView, SavedView
from apps.access.tests.resthelp import Own, person

pytestmark = pytest.mark.django_db
STUCK = {"page": "tasks", "name": "Stuck", "filters": {"state": "queued", "pool": "etl"}}


class Views(Own):
    """Whole answers instead of pairs."""

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, query=query)

    def post(self, path: str, body: Any) -> Any:
        return self.call("POST", path, body)

    def patch(self, path: str, body: Any) -> Any:
        return self.call("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self.call("DELETE", path)


def as_(role: str | None) -> Views:
    return Views(user=person(role))


def made(api: Views, **changes: Any) -> int:
    answer = api.post("/views", {**STUCK, **changes})
    assert answer.status_code == 201, answer.content
    return answer.json()["view_id"]


def test_views_are_created_listed_changed_made_default_and_deleted() -> None:
    api = as_("Viewer")
    pk = made(api, is_default=True)
    told = {"view_id": pk, **STUCK, "shared": False, "owner": api.user.username, "is_default": True}
    assert api.get(f"/views/{pk}").json() == told
    assert api.get("/views?page=tasks").json() == {"views": [told], "total_entries": 1}
    assert api.get("/views?page=runs").json()["total_entries"] == 0
    changed = api.patch(f"/views/{pk}", {"name": "Waits", "filters": {"state": "scheduled"}, "is_default": False}).json()
    assert (changed["name"], changed["filters"], changed["is_default"]) == ("Waits", {"state": "scheduled"}, False)
    assert api.delete(f"/views/{pk}").status_code == 204 and api.get(f"/views/{pk}").status_code == 404
    assert list(AuditEvent.objects.filter(object_type="view").order_by("pk").values_list("action", flat=True)) == [
        "post_view", "patch_view", "patch_view", "patch_view", "delete_view",
    ]  # fmt: skip


def test_what_is_not_yours_is_not_there_and_sharing_needs_the_right_to() -> None:
    vera, olga = as_("Viewer"), as_("Op")
    assert vera.post("/views", {**STUCK, "shared": True}).status_code == 403 and not SavedView.objects.exists()
    own, shared = made(olga), made(olga, name="All", shared=True)
    assert [v["name"] for v in vera.get("/views").json()["views"]] == ["All"]
    for call in (vera.get(f"/views/{own}"), vera.patch(f"/views/{own}", {"name": "x"}), vera.delete(f"/views/{own}"),
                 vera.patch(f"/views/{shared}", {"name": "x"}), vera.delete(f"/views/{shared}")):  # fmt: skip
        assert call.status_code == 404, call.content
    assert vera.patch(f"/views/{shared}", {"is_default": True}).json()["is_default"] is True
    assert olga.get(f"/views/{shared}").json()["is_default"] is False, "a default is the person's own"
    admin = as_("Admin")
    assert admin.patch(f"/views/{shared}", {"name": "Everybody's"}).json()["owner"] == olga.user.username
    assert admin.delete(f"/views/{shared}").status_code == 204 and not DefaultView.objects.exists()
    assert vera.post("/views", {"page": "audit", "name": "a", "filters": {"who": "x"}}).status_code == 201
    guest = as_(None)
    assert (guest.get("/views").status_code, guest.post("/views", STUCK).status_code) == (403, 403)


def test_a_token_for_reading_changes_no_views() -> None:
    api = as_("Admin")
    pk = made(api)
    reader = Views(token=tokens.make_api_token(api.user, "reader", scopes=["read"]))
    assert reader.get("/views").status_code == 200
    for call in (reader.post("/views", {**STUCK, "name": "b"}), reader.patch(f"/views/{pk}", {"name": "b"}), reader.delete(f"/views/{pk}")):
        assert call.status_code == 403
    assert SavedView.objects.get().name == "Stuck"


@pytest.mark.parametrize(
    ("changes", "status", "told"),
    [({"filters": {"colour": "red"}}, 422, "no such filter"), ({"filters": {}}, 400, "Nothing is filtered"),
     ({"name": "  "}, 400, "name of 1"),
     ({"page": "account"}, 422, "page"), ({"filters": {"state": 5}}, 422, "state"), ({"filters": {"state": "x" * 251}}, 422, "state"),
     ({}, 409, "with that name")],
)  # fmt: skip
def test_what_cannot_be_saved_is_refused_with_a_sentence(changes: dict[str, Any], status: int, told: str) -> None:
    api = as_("Viewer")
    made(api)
    answer = api.post("/views", {**STUCK, **changes})
    assert answer.status_code == status and told in answer.content.decode()
    if status != 409:
        other = made(api, name="Other")
        patched = {k: v for k, v in changes.items() if k != "page"}
        if patched:
            assert api.patch(f"/views/{other}", patched).status_code == status
    assert SavedView.objects.filter(name="Stuck").count() == 1


def test_the_limit_holds_and_a_changed_name_must_be_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(savedviews, "MOST", 2)
    api = as_("Viewer")
    made(api)
    other = made(api, name="Other")
    assert api.post("/views", {**STUCK, "name": "Third"}).status_code == 409
    assert api.patch(f"/views/{other}", {"name": "Stuck"}).status_code == 409
    assert api.patch(f"/views/{other}", {}).json()["name"] == "Other"
