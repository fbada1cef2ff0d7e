"""Texts that people see, and the files that translate them (apps/ui/locale/*/LC_MESSAGES/*.po).

    .venv/bin/python tools/translations.py            # after new or changed texts: puts them into the files, drops unused ones
    .venv/bin/python tools/translations.py --check    # says what is missing, changes nothing; a test does the same

Needs neither GNU gettext nor a configured site: templates are read by Django's own `templatize`, Python by `ast`, TypeScript by the
names of its two functions. docs/translations.md tells the rules.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from apps.ui import pofile  # noqa: E402 - the checkout need not be on the path

FOLDER = ROOT / "apps" / "ui" / "locale"
QUOTED = r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
IN_TEMPLATES = re.compile(rf"(?<![A-Za-z])(n?p?gettext|_)\(\s*u?{QUOTED}(?:\s*,\s*u?{QUOTED})?(?:\s*,\s*u?{QUOTED})?")
IN_SCRIPTS = re.compile(rf"\b(trn?)\(\s*{QUOTED}(?:,\s*{QUOTED})?")
CALLS = {"_", "lazy", "gettext_noop"} | {name + lazy for name in ("gettext", "ngettext", "pgettext", "npgettext") for lazy in ("", "_lazy")}
HEADER = (
    "Project-Id-Version: Trackside\nLanguage: {language}\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
    "Content-Transfer-Encoding: 8bit\nPlural-Forms: {plural}\n"
)
PLURALS = {"de": "nplurals=2; plural=(n != 1);"}
"""The plural rule of a new file; an existing one keeps its own."""
Found = dict[pofile.Key, list[str]]
"""Text → files that have it."""


def key(name: str, texts: list[str]) -> pofile.Key:
    """Arguments of a call by gettext's names as one entry."""
    context = texts.pop(0) if "pgettext" in name else None
    return context, texts[0], texts[1] if name.startswith("n") and len(texts) > 1 else None


def in_template(path: Path) -> Iterator[pofile.Key]:
    for name, *raw in IN_TEMPLATES.findall(templatize(path.read_text(encoding="utf-8"), origin=str(path))):
        yield key(name, [ast.literal_eval(text) for text in raw if text])


def in_python(path: Path) -> Iterator[pofile.Key]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in CALLS:
            texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if texts:
                yield key(name.removesuffix("_lazy").replace("gettext_noop", "gettext"), texts)


def in_script(path: Path) -> Iterator[pofile.Key]:
    for name, one, many in IN_SCRIPTS.findall(path.read_text(encoding="utf-8")):
        yield None, ast.literal_eval(one), ast.literal_eval(many) if name == "trn" and many else None


def _collect(into: Found, paths: list[Path], reader: object) -> None:
    for path in sorted(paths):
        for entry in reader(path):  # type: ignore[operator]
            files = into.setdefault(entry, [])
            if (name := str(path.relative_to(ROOT))) not in files:
                files.append(name)


def extract() -> dict[str, Found]:
    """All texts of the pages ("django") and of the islands ("djangojs")."""
    pages: Found = {}
    islands: Found = {}
    _collect(pages, list((ROOT / "templates").rglob("*.html")), in_template)
    _collect(pages, [p for p in (ROOT / "apps").rglob("*.py") if "tests" not in p.parts], in_python)
    _collect(islands, [p for p in (ROOT / "frontend" / "src").rglob("*.ts") if ".test." not in p.name and p.name != "text.ts"], in_script)
    return {"django": pages, "djangojs": islands}


def files() -> Iterator[tuple[str, str, Path]]:
    """Language, domain and file of all there are."""
    for folder in sorted(p for p in FOLDER.iterdir() if (p / "LC_MESSAGES").is_dir()):
        for domain in ("django", "djangojs"):
            yield folder.name, domain, folder / "LC_MESSAGES" / f"{domain}.po"


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    lines = escaped.split("\n")
    if len(lines) == 1:
        return f'"{escaped}"'
    parts = [line + "\\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    return '""\n' + "\n".join(f'"{part}"' for part in parts)


def write(path: Path, language: str, found: Found, known: dict[pofile.Key, list[str]]) -> None:
    """The file anew: texts by their first file, translations kept, what is new left empty."""
    header = known.get((None, "", None)) or [HEADER.format(language=language, plural=PLURALS.get(language, PLURALS["de"]))]
    out = [f'msgid ""\nmsgstr {quoted(header[0])}\n']
    for entry in sorted(found, key=lambda e: (found[e][0], e[1], e[0] or "")):
        context, text, plural = entry
        forms = known.get(entry, [])
        lines = [f"#: {' '.join(found[entry][:3])}"]
        lines += [f"msgctxt {quoted(context)}"] if context is not None else []
        lines.append(f"msgid {quoted(text)}")
        if plural is None:
            lines.append(f"msgstr {quoted(forms[0] if forms else '')}")
        else:
            lines.append(f"msgid_plural {quoted(plural)}")
            lines += [f"msgstr[{k}] {quoted(forms[k] if k < len(forms) else '')}" for k in range(max(2, len(forms)))]
        out.append("\n".join(lines) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(out), encoding="utf-8")


def main() -> int:
    texts, missing, changed = extract(), 0, 0
    for language, domain, path in files():
        known = pofile.read(path) if path.is_file() else {}
        lacking = [entry for entry in texts[domain] if entry not in known]
        unused = [entry for entry in known if entry not in texts[domain] and entry[1]]
        missing += len(lacking)
        changed += len(unused)
        if "--check" not in sys.argv:
            write(path, language, texts[domain], known)
        for _, text, _ in lacking:
            sys.stdout.write(f"{language} {domain}: not translated: {text}\n")
        sys.stdout.write(f"{path.relative_to(ROOT)}: {len(texts[domain])} texts, {len(lacking)} not translated, {len(unused)} unused\n")
    return 1 if missing or (changed and "--check" in sys.argv) else 0


if __name__ == "__main__":
    sys.exit(main())
