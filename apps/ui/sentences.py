"""Sentences that were written in English for everybody (reasons, errors, refusals) in the reader's language, where they are known.

The ledger, REST, logs and the command line say the same words; only pages translate, when they show them. What is not known (the words of
somebody's exception, of Kubernetes, of a person) stays as it is. `known_sentences` holds the patterns. Pure, but for the language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache

from django.utils.translation import get_language
from django.utils.translation import gettext as _

from apps.ui import words
from apps.ui.known_sentences import SENTENCES

LONGEST = 2000
"""Characters; a longer text is nobody's sentence."""
_PART = re.compile(r"%\((\w+)\)s")
_MANY = re.compile(r"(.+) and (\d+) more")
_OF_TASK = re.compile(r"([\w.\-]+): (.+)", re.DOTALL)


def told(text: str | None) -> str:
    """The text, each of its sentences translated if it is known."""
    if not text:
        return ""
    language = get_language() or "en"
    return text if language == "en" or len(text) > LONGEST else _told(text, language)


def listed(names: Sequence[str], most: int) -> str:
    """`a, b and 3 more`."""
    shown = ", ".join(names[:most])
    return _("%(names)s and %(n)s more") % {"names": shown, "n": len(names) - most} if len(names) > most else shown


@lru_cache(maxsize=4096)
def _told(text: str, _language: str) -> str:
    left, said = text, []
    while left:
        piece, words_of = _first(left)
        said.append(words_of)
        left = left[len(piece) :]
        if left.startswith(" "):
            said.append(" ")
            left = left[1:]
    return "".join(said)


def _first(text: str) -> tuple[str, str]:
    """The shortest beginning that is a known sentence and what it says; or the first sentence as it is."""
    ends = [m.end() for m in re.finditer(r"\.(?= )", text)] + [len(text)]
    for end in ends:
        if (known := _known(text[:end])) is not None:
            return text[:end], known
    task = _OF_TASK.fullmatch(text[: ends[0]])  # a run quotes the reason of a task
    if task and (known := _known(task[2])) is not None:
        return text[: ends[0]], f"{task[1]}: {known}"
    return text[: ends[0]], text[: ends[0]]


def _known(sentence: str) -> str | None:
    for start, pattern, msgid in _patterns():
        if sentence.startswith(start) and (found := pattern.fullmatch(sentence)):
            return _(msgid) % {name: _part(name, value) for name, value in found.groupdict().items()}
    return None


def _part(name: str, value: str) -> str:
    if name == "state":
        return words.said(value) if value in words.LABELS else value
    if name == "names" and (many := _MANY.fullmatch(value)):
        return _("%(names)s and %(n)s more") % {"names": many[1], "n": many[2]}
    if name == "what":  # a sentence within another
        return _known(value) or value
    return value


@cache
def _patterns() -> list[tuple[str, re.Pattern[str], str]]:
    """(beginning, pattern, text), the most literal first."""
    made = []
    for text in SENTENCES:
        parts = _PART.split(text)
        regex = "".join(f"(?P<{part}>.*?)" if k % 2 else re.escape(part) for k, part in enumerate(parts))
        made.append((parts[0], re.compile(regex, re.DOTALL), text))
    return sorted(made, key=lambda one: -len(_PART.sub("", one[2])))
