"""The words of the islands, as a script of their own: a strict content policy allows none within the page."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse

from apps.ui import languages


def words(request: HttpRequest, language: str, version: str) -> HttpResponse:
    """The catalogue of one language. Its address changes with it, so browsers keep it; it holds nothing secret and needs no sign-in."""
    if language not in languages.codes():
        raise Http404
    body, newest = languages.script(language)
    answer = HttpResponse(body, content_type="text/javascript; charset=utf-8")
    answer["Cache-Control"] = "public, max-age=31536000, immutable" if version == newest else "no-cache"
    return answer
