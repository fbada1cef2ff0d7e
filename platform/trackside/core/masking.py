"""Hiding known secrets in text: in the log of a try before anything is kept or sent, in rendered fields and XComs.

Source of the rule: reliability.md S11. A secret is hidden in the forms in which it usually turns up: as it is, URL-encoded,
in JSON strings, in base64 (at each of the three alignments inside a longer text), and each longer line of a secret of
several lines. Passwords in URLs (`scheme://user:password@host`) are hidden without being registered.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "***"
MIN_LENGTH = 5
"""Shorter secrets would make logs unreadable (Airflow's min_length_masked_secret)."""
MIN_LINE = 8
_URL_PASSWORD = re.compile(r"(?<=://)([^\s/:@\"'<>]*):([^\s/@\"'<>]+)@")


class Masker:
    """The secrets of one try. `hide` is called for every line, so that it must be quick when there is nothing to do."""

    def __init__(self) -> None:
        self._forms: list[str] = []
        """Longest first, so that no part of a secret is hidden before the whole."""
        self.longest = 0
        """Characters of the longest form: text of unfinished lines is held back by this much."""

    def add(self, secret: Any, *, plain: bool = False) -> None:
        """Hide `secret` (its text; parts of a multi-line one) from now on. Short and empty ones are ignored.

        `plain`: only as it is, without looking for encoded forms.
        """
        text = (secret if isinstance(secret, str) else str(secret)).strip()
        parts = {text}
        if "\n" in text:
            parts |= {line.strip() for line in text.splitlines() if len(line.strip()) >= MIN_LINE}
        forms = set(self._forms)
        for part in parts:
            if len(part) >= MIN_LENGTH:
                forms |= {part} if plain else _forms(part)
        self._forms = sorted(forms, key=len, reverse=True)
        self.longest = len(self._forms[0]) if forms else 0

    def hide_known(self, text: str, replacement: str = HIDDEN) -> str:
        """`text` with every known form replaced."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, replacement)
        return text

    def hide(self, text: str) -> str:
        """`text` with every known form, and passwords in URLs, replaced by ***."""
        text = self.hide_known(text)
        if "://" in text and "@" in text:
            text = _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", text)
        return text

    def needs_work(self, text: str) -> bool:
        """Whether `hide` would find anything in this raw JSON text (may say yes too often)."""
        return ("://" in text and "@" in text) or any(form in text for form in self._forms)

    def hide_in(self, value: Any) -> Any:
        """`value` (JSON) with every string in it masked; names of fields stay."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, dict):
            return {key: self.hide_in(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.hide_in(item) for item in value]
        return value


def _forms(secret: str) -> set[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {
        secret,
        quote(secret, safe="", errors="replace"),
        quote(secret, errors="replace"),
        quote_plus(secret, errors="replace"),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(secret)[1:-1])[1:-1],
        repr(secret)[1:-1],
    }
    for written in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):  # URIs of connections hold their extra as JSON
        forms |= {quote(written, safe="", errors="replace"), quote_plus(written, errors="replace")}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # Only the characters that depend on the secret alone: those at the seams mix with the neighbours' bits.
            encoded = encode(b"\0" * shift + raw).decode()
            head = (0, 2, 3)[shift]
            whole = (len(raw) + shift) * 8 // 6
            core = encoded[head:whole]
            if len(core) >= MIN_LENGTH:
                forms.add(core)
        forms.add(encode(raw).decode().rstrip("="))
    return forms
