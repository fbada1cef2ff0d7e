"""Which language a page has, and what stays English whatever the browser asks for."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.utils import translation
from django.utils.module_loading import import_string
from django.utils.timezone import now
from django.utils.translation import gettext, ngettext

from apps.dags.models import Dag
from apps.runs.models import Run, TaskInstance
from apps.ui import languages, pofile
from apps.ui.tests import factories

GERMAN = {"headers": {"accept-language": "de-AT,de;q=0.9,en;q=0.5"}}


@pytest.mark.django_db
def test_a_page_is_in_the_language_the_browser_asks_for_until_the_person_chooses(client: Client) -> None:
    client.force_login(factories.user())
    german = client.get("/runs", **GERMAN)
    assert '<html lang="de" dir="ltr"' in german.content.decode()
    assert (german["Content-Language"], german["Vary"]) == ("de", "Cookie, Accept-Language")
    assert "/ui/words/de-" in german.content.decode()
    answer = client.post("/language", {"language": "en", "next": "/runs"}, **GERMAN)
    assert (answer.status_code, answer["Location"]) == (302, "/runs")
    english = client.get("/runs", **GERMAN).content.decode()
    assert '<html lang="en" dir="ltr"' in english
    assert "/ui/words/" not in english
    assert '<html lang="en"' in Client().get("/login", headers={"accept-language": "tlh"}).content.decode()


@pytest.mark.django_db
def test_the_language_ends_with_the_request(client: Client) -> None:
    client.get("/login", **GERMAN)
    assert translation.get_language() == "en"


@pytest.mark.django_db
def test_apis_and_admin_stay_english(client: Client) -> None:
    client.force_login(factories.user())
    for path in ("/api/v2/dags/none", "/admin/", "/docs"):
        answer = client.get(path, **GERMAN)
        assert "Content-Language" not in answer.headers, path
    assert "detail" in client.get("/api/v2/dags/none", **GERMAN).json()


def test_words_of_the_islands_are_kept_by_their_name_and_nothing_else_is_given(client: Client) -> None:
    body, version = languages.script("de")
    answer = client.get(f"/ui/words/de-{version}.js")
    assert answer.content.decode() == body
    assert "immutable" in answer["Cache-Control"]
    json.loads(body.removeprefix("window.tracksideText=").removesuffix(";"))
    assert client.get("/ui/words/de-0.js")["Cache-Control"] == "no-cache"
    assert client.get("/ui/words/..-0.js").status_code == 404


def test_plural_rules_and_contexts_of_a_file_are_those_of_gettext(tmp_path: Path) -> None:
    path = tmp_path / "django.po"
    path.write_text(
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n\n'
        'msgid "one \\"run\\""\nmsgid_plural "%(n)s runs"\nmsgstr[0] "ein Lauf"\nmsgstr[1] ""\n"%(n)s "\n"Läufe"\n\n'
        'msgctxt "verb"\nmsgid "Run"\nmsgstr "Starten"\n\n#, fuzzy\nmsgid "Guess"\nmsgstr "Vermutung"\n\nmsgid "Empty"\nmsgstr ""\n'
    )
    known = pofile.compiled(pofile.read(path))
    assert [known.ngettext('one "run"', "%(n)s runs", n) for n in (1, 2)] == ["ein Lauf", "%(n)s Läufe"]
    assert known.pgettext("verb", "Run") == "Starten"
    assert [known.gettext(text) for text in ("Run", "Guess", "Empty")] == ["Run", "Guess", "Empty"]


def test_a_broken_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "django.po"
    path.write_text('msgid "a"\nmsgstr oops\n')
    with pytest.raises(pofile.BadCatalogue, match=r"django\.po, line 2"):
        pofile.read(path)


def test_our_words_win_and_djangos_own_stay() -> None:
    with languages.speaking("de"):
        assert gettext("Language") == "Sprache"
        assert gettext("This field is required.") == "Dieses Feld ist zwingend erforderlich."
        assert ngettext("%(value)s million", "%(value)s millions", 2) != ""
    assert gettext("Language") == "Language"


def test_bare_numbers_in_templates_are_the_same_in_every_language() -> None:
    for code, _ in settings.LANGUAGES[1:]:
        formats = f"apps.ui.formats.{translation.to_locale(code)}.formats"
        assert (import_string(f"{formats}.DECIMAL_SEPARATOR"), import_string(f"{formats}.NUMBER_GROUPING")) == (".", 0)


@pytest.mark.django_db
def test_breadcrumbs_moments_and_the_comparison_are_whole_sentences_of_the_language(client: Client) -> None:
    client.force_login(factories.user())
    dag, start = factories.dag("orders", ["extract"]), now() - timedelta(days=2)
    old, new = factories.run(dag, at=start), factories.run(dag, at=start + timedelta(days=1))
    for model in (Run.objects.filter(pk=new.pk), TaskInstance.objects.filter(run=new)):
        model.update(end_date=new.start_date + timedelta(seconds=200))
    TaskInstance.objects.filter(run=new).update(duration=200.0)
    compared = client.get(f"/dags/orders/runs/{new.run_id}/compare?with={old.run_id}", **GERMAN).content.decode()
    assert "2 min 20 s länger: 3 min 20 s statt 1 min." in compared and "Allein extract: +2 min 20 s." in compared
    assert '<span class="cut" aria-current="page">Läufe</span>' in client.get("/dags/orders/runs", **GERMAN).content.decode()
    Dag.objects.update(next_run_after=now() - timedelta(hours=3))
    assert "3 h zu spät" in client.get("/dags", **GERMAN).content.decode()
    Dag.objects.update(is_paused=True)
    assert ">pausiert<" in client.get("/dags", **GERMAN).content.decode()
