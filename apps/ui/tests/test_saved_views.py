"""Saved views: the filters of a list under a name, for oneself or for all; in the list's dialog and in the palette."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access import savedviews
from apps.access.models import AuditEvent, SavedView, User

pytestmark = pytest.mark.django_db
HX = {"HX-Request": "true"}


def person(name: str, role: str) -> Client:
    user = User.objects.create_user(name)
    user.groups.add(Group.objects.get_or_create(name=role)[0])
    client = Client()
    client.force_login(user)
    return client


def save(client: Client, page: str = "tasks", name: str = "Stuck", here: str = "state=queued&pool=etl", **more: str) -> Any:
    return client.post(f"{reverse('saved_views', args=[page])}?here={here.replace('&', '%26')}", {"name": name, **more}, headers=HX)


def palette(client: Client, q: str) -> str:
    return str([hit for hit in client.get(reverse("find_data"), {"q": q}).json() if hit["kind"] != "log"])


def dialog(client: Client, page: str = "tasks") -> str:
    return client.get(reverse("saved_views", args=[page]), headers=HX).content.decode()


def test_a_view_is_saved_found_again_replaced_and_deleted_and_the_trail_knows() -> None:
    vera = person("vera", "Viewer")
    answer = save(vera, here="state=queued&pool=et%00l&before=77&evil=1").json()
    assert answer["href"] == "/tasks?state=queued&pool=etl", "only filters that the page knows, and no place in the list"
    assert 'href="/tasks?state=queued&amp;pool=etl"' in dialog(vera)
    assert save(vera, name=" Stuck ", here="state=failed").status_code == 200
    view = SavedView.objects.get()
    assert (view.name, view.filters, view.shared) == ("Stuck", {"state": "failed"}, False)
    assert vera.post(reverse("saved_view_delete", args=["tasks", view.pk]), headers=HX).status_code == 200
    assert not SavedView.objects.exists()
    columns = ("action", "actor", "object_id", "extra__before__state", "extra__after__state")
    assert list(AuditEvent.objects.order_by("pk").values_list(*columns)) == [
        ("post_view", "vera", "Stuck", None, "queued"), ("patch_view", "vera", "Stuck", "queued", "failed"),
        ("delete_view", "vera", "Stuck", "failed", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "here", "told"),
    [("", "state=queued", "a name of 1 to 100"), ("x" * 101, "state=queued", "a name of 1 to 100"),
     ("a\x00b", "state=queued", "a name of 1 to 100"), ("Mine", "before=3", "Nothing is filtered"),
     ("Mine", "state=%00", "Nothing is filtered")],
)  # fmt: skip
def test_what_cannot_be_saved_is_told_in_the_dialog(name: str, here: str, told: str) -> None:
    answer = save(person("vera", "Viewer"), name=name, here=here)
    assert answer.status_code == 422 and told in answer.content.decode()
    assert not SavedView.objects.exists()


def test_others_see_shared_views_only_and_only_who_may_edit_views_shares_and_deletes_them() -> None:
    vera, olga = person("vera", "Viewer"), person("olga", "Op")
    assert save(vera, name="Mine", shared="on").status_code == 422 and "Share it" not in dialog(vera)
    save(vera, name="Mine")
    save(olga, name="All", shared="on")
    assert "All" in dialog(vera) and "shared by olga" in dialog(vera)
    assert "Mine" not in dialog(olga) and "Mine" not in palette(olga, "Mine")
    mine, shared = (SavedView.objects.get(name=name).pk for name in ("Mine", "All"))
    for client, pk in ((vera, shared), (olga, mine)):
        assert client.post(reverse("saved_view_delete", args=["tasks", pk]), headers=HX).status_code == 422
    assert SavedView.objects.count() == 2
    assert person("otto", "Op").post(reverse("saved_view_delete", args=["tasks", shared]), headers=HX).status_code == 200


def test_views_of_the_trail_are_for_who_may_read_it_and_other_pages_have_none() -> None:
    guest, ada = person("guest", "Nobody"), person("ada", "Admin")
    save(ada, "audit", "Deletions", "what=delete_dag", shared="on")
    assert "Deletions" in palette(ada, "delet")
    assert guest.get(reverse("saved_views", args=["audit"])).status_code == 404
    assert "Deletions" not in palette(guest, "delet")
    assert ada.get(reverse("saved_views", args=["account"])).status_code == 404


def test_the_palette_finds_views_and_a_filter_that_is_gone_is_left_out() -> None:
    vera = person("vera", "Viewer")
    save(vera)
    SavedView.objects.update(filters={"state": "queued", "colour": "red"})
    found = vera.get(reverse("find_data") + "?q=stu").json()
    assert found[0] == {"kind": "filter", "text": "Stuck", "more": "saved view", "href": "/tasks?state=queued"}
    pages = vera.get(reverse("find_data") + "?q=import").json()
    assert [hit["href"] for hit in pages if hit["kind"] == "right"] == [reverse("import_errors")]


def test_a_person_has_so_many_views_and_the_dialog_needs_the_same_statements_for_any_number(monkeypatch: Any) -> None:
    monkeypatch.setattr(savedviews, "MOST", 3)
    vera, counts = person("vera", "Viewer"), []
    for name in ("a", "b", "c"):
        assert save(vera, name=name).status_code == 200
        with CaptureQueriesContext(connection) as asked:
            dialog(vera)
        counts.append(len(asked))
    assert len(set(counts)) == 1, counts
    refused = save(vera, name="d")
    assert refused.status_code == 422 and "You have 3 saved views" in refused.content.decode()
    assert save(vera, name="c", here="state=failed").status_code == 200, "replacing one is no further one"


def test_without_scripts_the_dialog_is_a_page_and_saving_leads_to_the_list() -> None:
    vera = person("vera", "Viewer")
    page = vera.get(reverse("saved_views", args=["tasks"]) + "?here=state%3Dqueued").content.decode()
    assert page.lstrip().startswith("<!doctype html>") and "state: queued" in page
    answer = vera.post(reverse("saved_views", args=["tasks"]) + "?here=state%3Dqueued", {"name": "Stuck"})
    assert (answer.status_code, answer["Location"]) == (302, "/tasks?state=queued")
    assert 'href="/views/tasks?here=state%3Dqueued"' in vera.get("/tasks?state=queued").content.decode()


def make_default(client: Client, pk: int, page: str = "tasks", on: str = "1") -> Any:
    return client.post(reverse("saved_view_default", args=[page, pk]), {"on": on}, headers=HX)


@pytest.mark.parametrize(
    ("page", "here"), [("tasks", "state=queued"), ("runs", "state=failed"), ("dags", "view=paused"), ("audit", "who=x")]
)
def test_a_list_opens_with_the_persons_default_view_and_everything_is_one_visible_link_away(page: str, here: str) -> None:
    ada, otto = person("ada", "Admin"), person("otto", "Admin")
    save(ada, page, "Mine", here)
    view = SavedView.objects.get()
    assert ada.get(f"/{page}").status_code == 200
    assert make_default(ada, view.pk, page).json()["href"] == f"/{page}?{here}" and 'aria-pressed="true"' in dialog(ada, page)
    opened = ada.get(f"/{page}")
    assert (opened.status_code, opened["Location"]) == (302, f"/{page}?{here}")
    told = ada.get(opened["Location"]).content.decode()
    assert "which this list opens with" in told and 'href="?all=1"' in told
    everything = ada.get(f"/{page}?all=1")
    assert everything.status_code == 200 and "which this list opens with" not in everything.content.decode()
    assert 'name="all" value="1"' in everything.content.decode(), "filters that are emptied again do not lead to the default"
    assert ada.get(f"/{page}", headers={"HX-Request": "false"}).status_code == 200, "a page that is open stays what it is"
    assert otto.get(f"/{page}").status_code == 200, "it is the person's own"
    make_default(ada, view.pk, page, on="0")
    assert ada.get(f"/{page}").status_code == 200
    assert list(AuditEvent.objects.order_by("pk").values_list("extra__after__default", flat=True))[-2:] == ["Mine", None]


def test_a_shared_view_may_be_a_default_until_it_is_gone_or_no_longer_shared() -> None:
    vera, olga = person("vera", "Viewer"), person("olga", "Op")
    save(olga, name="All", shared="on")
    save(olga, name="Own")
    shared, own = (SavedView.objects.get(name=name).pk for name in ("All", "Own"))
    assert make_default(vera, own).status_code == 422 and make_default(vera, shared).status_code == 200
    assert vera.get("/tasks").status_code == 302
    save(olga, name="All")  # replaced, and no longer shared
    assert vera.get("/tasks").status_code == 200
    olga.post(reverse("saved_view_delete", args=["tasks", shared]), headers=HX)
    assert vera.get("/tasks").status_code == 200
