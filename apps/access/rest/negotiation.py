"""Which of the offered media types a client wants, by its Accept header; operations with one kind of answer do not ask."""

from __future__ import annotations

from rest_framework.request import Request

JSON, TEXT, NDJSON = "application/json", "text/plain", "application/x-ndjson"


def wanted_media(request: Request, *offered: str) -> str | None:
    """The first media type of Accept that is offered (the first one offered for `*/*` or no header); None if there is none."""
    header = request.headers.get("Accept", "").strip()
    if not header:
        return offered[0]
    for part in header.split(","):
        media = part.partition(";")[0].strip().lower()
        if media == "*/*":
            return offered[0]
        for offer in offered:
            if media == offer or (media.endswith("/*") and offer.startswith(media[:-1])):
                return offer
    return None
