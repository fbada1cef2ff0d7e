"""The language of pages: which one this person reads, and our words in it.

`middleware` chooses (cookie, else what the browser asks for) for everything but the APIs and the admin, whose words are English.
`speaking` is the same for code without a request. Words come from `locale/<language>/LC_MESSAGES/*.po` (`pofile.py` reads them: no
compiled files, no GNU gettext); `script` is those of the browser. docs/translations.md says how to add words and languages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.decorators import sync_and_async_middleware
from django.utils.translation import trans_real

from apps.ui import pofile

FOLDER = Path(__file__).parent / "locale"
ENGLISH = ("/api/", "/auth/", "/admin/", "/openapi.json", "/docs", "/redoc")
"""Answers below these paths are for programs, or are pages that nobody has translated."""


def codes() -> list[str]:
    """The languages there are; the first is the one that the sources are written in."""
    return [code for code, _ in settings.LANGUAGES]


@cache
def catalogue(language: str, domain: str) -> dict[pofile.Key, list[str]]:
    """What is translated: domain "django" for pages, "djangojs" for the browser. Empty for English."""
    path = FOLDER / translation.to_locale(language) / "LC_MESSAGES" / f"{domain}.po"
    return pofile.read(path) if path.is_file() else {}


@cache
def _compiled(language: str) -> Any:
    return pofile.compiled(catalogue(language, "django"))


def prepare(language: str) -> None:
    """Give our words to Django, once per process (and again when tests made it forget them)."""
    known: Any = trans_real.translation(language)
    if not getattr(known, "trackside", False):
        known.trackside = True
        if catalogue(language, "django"):
            known.merge(_compiled(language))


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """All words within are in that language."""
    prepare(language)
    with translation.override(language):
        yield


def chosen(request: HttpRequest) -> str:
    """This person's choice (cookie), else the best of what the browser asks for, else English."""
    return translation.get_language_from_request(request)


def _speaks(request: HttpRequest) -> bool:
    return len(settings.LANGUAGES) > 1 and not request.path_info.startswith(ENGLISH)


def _told(response: HttpResponseBase, language: str) -> HttpResponseBase:
    if response.headers.get("Content-Type", "").startswith("text/html"):
        patch_vary_headers(response, ("Accept-Language", "Cookie"))  # type: ignore[arg-type]
        response.headers.setdefault("Content-Language", language)
    return response


@sync_and_async_middleware
def middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """As Django's LocaleMiddleware, but it leaves the APIs alone, and ends the language with the request."""
    if iscoroutinefunction(get_response):
        onward = cast(Callable[[HttpRequest], Awaitable[HttpResponseBase]], get_response)

        async def later(request: HttpRequest) -> HttpResponseBase:
            if not _speaks(request):
                return await onward(request)
            language = chosen(request)
            with speaking(language):
                return _told(await onward(request), language)

        return later

    def now(request: HttpRequest) -> HttpResponseBase:
        if not _speaks(request):
            return cast(HttpResponseBase, get_response(request))
        language = chosen(request)
        with speaking(language):
            return _told(get_response(request), language)

    return now


@cache
def script(language: str) -> tuple[str, str]:
    """What the islands read before they start (`frontend/src/lib/text.ts`), and a name that changes with it."""
    words = {text: forms if plural else forms[0] for (_, text, plural), forms in catalogue(language, "djangojs").items() if text}
    body = f"window.tracksideText={json.dumps(words, ensure_ascii=False, separators=(',', ':'), sort_keys=True)};"
    return body, hashlib.sha256(body.encode()).hexdigest()[:10]
