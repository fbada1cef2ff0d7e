"""Descriptions of params as people wrote them: a little Markdown, and never their HTML.

For the trigger form (`params`). Bold, italics, code and http links; everything else is text, so nothing of an author's can
run in a reader's browser.
"""

from __future__ import annotations

import re

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

_CODE = re.compile(r"``(.+?)``|`([^`]+)`")
_LINK = re.compile(r"\[([^\[\]]+)\]\((https?://[^\s()<>]+)\)")
_BOLD = re.compile(r"\*\*(?=\S)(.+?)(?<=\S)\*\*")
_ITALIC = re.compile(r"(?<![\w*])[*_](?=\S)([^*_]+?)(?<=\S)[*_](?![\w*])")


def markdown(text: str) -> SafeString:
    """HTML of one paragraph."""
    kept: list[str] = []

    def keep(html: str) -> str:
        kept.append(html)
        return f"\x00{len(kept) - 1}\x00"

    out: str = escape(text.replace("\x00", ""))
    out = _CODE.sub(lambda m: keep(f"<code>{m[1] or m[2]}</code>"), out)
    out = _LINK.sub(lambda m: keep(f'<a href="{m[2]}" rel="noopener noreferrer" target="_blank">{m[1]}</a>'), out)
    out = _ITALIC.sub(r"<em>\1</em>", _BOLD.sub(r"<strong>\1</strong>", out))
    return mark_safe(re.sub(r"\x00(\d+)\x00", lambda m: kept[int(m[1])], out))  # noqa: S308 - escaped above, tags are ours
