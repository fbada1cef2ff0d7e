"""Documents that can be checked are: settings, states, commands and links."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from trackside.core.states_doc import document

ROOT = Path(__file__).resolve().parents[1]
SETTING = re.compile(r"\b(?:TRACKSIDE_[A-Z][A-Z_]*[A-Z]|DATABASE_URL)\b(?!_)")
FOR_TESTS = {"TRACKSIDE_TEST_POSTGRES_HOME"}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def settings_in_code() -> set[str]:
    found: set[str] = set()
    for folder in ("apps", "platform/trackside", "platform/config"):
        for path in (ROOT / folder).rglob("*.py"):
            if "tests" not in path.parts:
                found |= set(SETTING.findall(path.read_text(encoding="utf-8")))
    return {name for name in found if name.removesuffix("_FILE") not in found - {name}} - FOR_TESTS


def settings_in_docs() -> list[str]:
    return re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/settings.md").read_text(encoding="utf-8"), re.M)


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    assert sorted(settings_in_docs()) == sorted(settings_in_code())


def test_the_page_of_states_is_fresh() -> None:
    fresh = "Run `python -m trackside.core.states_doc > docs/states.md`."
    assert (ROOT / "docs/states.md").read_text(encoding="utf-8") == document(), fresh


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    targets = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t]
    assert [t for t in targets if t and not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_named_in_pages_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:apps|platform|tests|docs|frontend|examples|templates|tools)/[\w./-]+\.\w+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_verb_of_make_is_in_the_readme() -> None:
    verbs = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [verb for verb in verbs if f"make {verb}" not in readme] == []


def test_every_command_is_in_the_readme() -> None:
    done = subprocess.run([sys.executable, "-m", "trackside.cli"], capture_output=True, text=True)
    commands = re.findall(r"^    ([a-z-]+)\s", done.stdout, re.M)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {"standalone", "worker", "version"} <= set(commands)
    assert [command for command in commands if f"trackside {command}" not in readme] == []
