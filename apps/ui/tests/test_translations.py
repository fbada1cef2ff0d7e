"""Every text that people see is marked, and every marked text is translated (docs/translations.md).

The texts are found as `tools/translations.py` finds them, which needs no GNU gettext.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from django.conf import settings
from django.test import Client

from apps.ui import pofile
from apps.ui.tests import factories

ROOT = Path(settings.ROOT)
TEMPLATES = sorted(p for p in (ROOT / "templates").rglob("*.html") if p.relative_to(ROOT / "templates").parts[0] not in ("admin", "api"))
PLACEHOLDER = re.compile(r"%\(\w+\)s|%%|\{\w+\}")
NAMES = {"Trackside", "DAG", "DAGs", "Ctrl", "Tab", "Enter", "Space", "Home", "rows"}
"""Names of things, keys and of an example, the same in every language."""
PAGES = """/ /dags /runs /tasks /assets /data /required-actions /import-errors /processes /account
    /dags/bestellungen/code /dags/bestellungen/details /dags/bestellungen/runs"""
SPOKEN = ("aria-label", "placeholder", "title", "data-tip", "alt", "aria-roledescription", "data-go")
SILENT = ("code", "pre", "kbd", "style", "script")
TAG = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", re.S)
MARKED = re.compile(
    r"\{% blocktranslate.*?endblocktranslate %\}|\{% comment %\}.*?\{% endcomment %\}|\{% block bodyclass %\}.*?\{% endblock %\}", re.S
)


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("translations_tool", ROOT / "tools" / "translations.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found() -> dict[str, dict[pofile.Key, list[str]]]:
    return tool().extract()


class Unmarked(HTMLParser):
    """Texts and spoken attributes that are left when tags of the template are gone."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.silent += tag in SILENT
        for name, value in attrs:
            if name in SPOKEN:
                self.look(value or "")

    def handle_endtag(self, tag: str) -> None:
        self.silent -= tag in SILENT

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.look(data)

    def look(self, text: str) -> None:
        self.found += [word for word in re.findall(r"[^\W\d_]{2,}", text) if word not in NAMES]


def unmarked(source: str) -> list[str]:
    reader = Unmarked()
    reader.feed(TAG.sub("", MARKED.sub("", source)))
    reader.close()
    return reader.found


def test_all_texts_of_templates_are_marked() -> None:
    left = {str(p.relative_to(ROOT)): words for p in TEMPLATES if (words := unmarked(p.read_text(encoding="utf-8")))}
    assert left == {}, "mark these with {% translate %} or {% blocktranslate %}"


def test_an_unmarked_text_is_noticed_wherever_it_stands() -> None:
    assert unmarked('<p>{% if a %}Hello{% endif %} {% translate "you" %}</p>') == ["Hello"]
    assert unmarked('<a aria-label="Close {{ x }}">{{ x|default:"" }}</a><code>raw</code>') == ["Close"]
    assert unmarked("<b>{% blocktranslate %}{{ n }} more{% endblocktranslate %}</b>{# note #}") == []


def test_every_text_is_translated_and_no_translation_is_left_over(found: dict[str, dict[pofile.Key, list[str]]]) -> None:
    for language, domain, path in tool().files():
        known = {entry: forms for entry, forms in pofile.read(path).items() if entry[1]}
        hint = f"{language}: run .venv/bin/python tools/translations.py and fill in {path.relative_to(ROOT)}"
        assert {e for e in found[domain] if not all(known.get(e, [""]))} == set(), hint
        assert set(known) - set(found[domain]) == set(), hint
        assert "#, fuzzy" not in path.read_text(encoding="utf-8"), hint


def test_a_translation_has_the_placeholders_of_its_text() -> None:
    for _, _, path in tool().files():
        for (_, text, plural), forms in pofile.read(path).items():
            if text:
                for form in forms:
                    assert set(PLACEHOLDER.findall(form)) == set(PLACEHOLDER.findall(plural or text)), text
                    assert (form[:1] == " ", form[-1:] == " ") == (text[:1] == " ", text[-1:] == " "), text


def test_every_noun_that_is_counted_is_known(found: dict[str, dict[pofile.Key, list[str]]]) -> None:
    known = {text for _, text, plural in found["django"] if plural}
    for path in (ROOT / "apps").rglob("*.py"):
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "plural":
                noun = node.args[1]
                assert isinstance(noun, ast.Constant), path
                assert f"%(n)s {noun.value}" in known, f"{path}: add {noun.value!r} to _nouns of apps/ui/words.py"


@pytest.mark.django_db
def test_pages_in_german_say_nothing_in_english(client: Client, found: dict[str, dict[pofile.Key, list[str]]]) -> None:
    client.force_login(factories.user())
    run = factories.run(
        factories.dag("bestellungen", ["laden", "melden"]), state="failed", states={"laden": "failed", "melden": "upstream_failed"}
    )
    one = f"/dags/bestellungen/runs/{run.run_id}"
    german = pofile.read(ROOT / "apps/ui/locale/de/LC_MESSAGES/django.po")
    same = {text for (_, text, _), forms in german.items() if text in forms} | {form for forms in german.values() for form in forms}
    texts = {
        text for _, text, _ in found["django"] if len(text) > 6 and "%" not in text and text not in same | {"default"}
    }  # a queue's name
    for path in (*PAGES.split(), f"{one}/clear", one, f"{one}/tasks/laden"):
        answer = client.get(path, headers={"accept-language": "de"})
        assert answer.status_code == 200, path
        html = answer.content.decode()
        spoken = " ".join(re.findall(rf"(?:{'|'.join(SPOKEN)})=\"[^\"]*\"", html))
        assert [text for text in texts if f">{text}<" in html or f'="{text}"' in spoken] == [], path
        assert 'lang="de"' in html
    assert "Braucht Aufmerksamkeit" in client.get("/", headers={"accept-language": "de"}).content.decode()
