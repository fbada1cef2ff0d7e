"""Which texts may be the name of something that people type and read: for the domain calls and forms that make such things.

DAG, task and run ids have stricter rules of their own (`sdk.abstract`, `runs.actions.creation`). Pure.
"""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Control characters, line ends, what has no width, and what turns the direction of writing."""


def flaw(text: str, what: str) -> str:
    """Why `text` cannot name a new `what`, as a sentence that says what to do; empty if it can.

    Two names that look the same would be two things: so no characters that are not seen, and each letter in the one form
    that Unicode calls composed (NFC).
    """
    if found := _UNSEEN.search(text):
        where = f"character {found.start() + 1} (U+{ord(found[0]):04X})"
        return f"The {what} has a character that cannot be seen: {where}. Write it without."
    if not unicodedata.is_normalized("NFC", text):
        return f"The {what} has letters with separate accents, which look like others. Write it in composed form (Unicode NFC)."
    return ""
