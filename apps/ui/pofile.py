"""Reads a translation file (.po) as it is, so that nobody needs GNU gettext and no compiled file is kept or built.

For `languages.py`, which hands the result to Django. `tools/translations.py` writes the files. Everything gettext's own format
knows and we use is read: contexts, plurals, lines that go on; entries marked "fuzzy" do not count as translated.
"""

from __future__ import annotations

import ast
import gettext
import io
import struct
from pathlib import Path

Key = tuple[str | None, str, str | None]
"""Context, text, plural."""
_WORDS = ("msgctxt", "msgid_plural", "msgid", "msgstr")


class BadCatalogue(ValueError):
    """A line of a .po file that is none of the format; the message names file and line."""


def read(path: Path) -> dict[Key, list[str]]:
    """What is translated: text → its forms (one, or one per plural form). The header is the entry of the empty text."""
    found: dict[Key, list[str]] = {}
    entry: dict[str, str] = {}
    fuzzy, field = False, ""

    def done() -> None:
        nonlocal entry, fuzzy, field
        forms = [text for name, text in sorted(entry.items()) if name.startswith("msgstr")]
        if "msgid" in entry and any(forms) and not (fuzzy and entry["msgid"]):
            found[(entry.get("msgctxt"), entry["msgid"], entry.get("msgid_plural"))] = forms
        entry, fuzzy, field = {}, False, ""

    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            if any(name.startswith("msgstr") for name in entry):
                done()
            fuzzy = fuzzy or (line.startswith("#,") and "fuzzy" in line)
            continue
        word, _, rest = line.partition(" ")
        if line.startswith('"'):
            rest = line
        elif word.partition("[")[0] in _WORDS:
            if word in ("msgctxt", "msgid") and any(name.startswith("msgstr") for name in entry):
                done()
            field = word
            entry[field] = ""
        else:
            field = ""
        if not field:
            raise BadCatalogue(f"{path}, line {number}: {line[:60]!r} is no part of a translation file.")
        try:
            entry[field] += ast.literal_eval(rest.strip())
        except (SyntaxError, ValueError, TypeError) as e:
            raise BadCatalogue(f"{path}, line {number}: {rest[:60]!r} is no text in quotes.") from e
    done()
    return found


def compiled(catalogue: dict[Key, list[str]]) -> gettext.GNUTranslations:
    """The same as the standard library's object, made through its binary form (the header's plural rule included)."""
    pairs = []
    for (context, text, plural), forms in catalogue.items():
        name = text if context is None else f"{context}\x04{text}"
        name = name if plural is None else f"{name}\0{plural}"
        pairs.append((name.encode(), "\0".join(forms).encode()))
    pairs.sort()
    count, at = len(pairs), 28 + 16 * len(pairs)
    heads, body = [], b""
    for side in (0, 1):
        for pair in pairs:
            heads += [len(pair[side]), at + len(body)]
            body += pair[side] + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0)
    return gettext.GNUTranslations(io.BytesIO(head + struct.pack(f"<{len(heads)}I", *heads) + body))
