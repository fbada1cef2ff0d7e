"""`Idempotency-Key`: a mutation that is sent again under the same key is done once and answered the same.

The answer is stored in the transaction of the mutation itself: either both are there or neither, whoever dies. A second call
at the same moment waits for the first one's end. What was refused changed nothing and is not stored: it may be sent again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta

from django.db import connection, transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.timezone import now

from apps.access.models import IdempotentAnswer, User
from apps.access.rest.errors import flaw, invalid

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT = timedelta(hours=24)
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_MEANING = "Your own name for this call (1 to 200 visible characters): sent again within 24 hours, it is done once and answered the same."
HEADERS = {HEADER: _MEANING}

_CLAIM = """
INSERT INTO access_idempotentanswer (user_id, key, request, status, content, at) VALUES (%s, %s, %s, 0, ''::bytea, now())
ON CONFLICT (user_id, key) DO NOTHING RETURNING id
"""


def once(user: User, key: str, method: str, path: str, body: bytes, act: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """The answer of `act`, or the one it gave before under this key. Raises Problem 422 for a key that means another call."""
    if not _KEY.fullmatch(key):
        raise invalid(flaw(("header", HEADER), "1 to 200 visible ASCII characters"))
    request = hashlib.sha256(f"{method} {path}\n".encode() + body).hexdigest()
    with transaction.atomic():
        IdempotentAnswer.objects.filter(user=user, at__lt=now() - KEPT).delete()
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, [user.pk, key, request])
            claimed = cursor.fetchone()
        if claimed is None:
            return _again(IdempotentAnswer.objects.get(user=user, key=key), request)
        response = act()
        if isinstance(response, HttpResponse) and response.status_code < 400:
            content = IdempotentAnswer.objects.filter(pk=claimed[0])
            content.update(status=response.status_code, content=response.content)
        else:
            IdempotentAnswer.objects.filter(pk=claimed[0]).delete()
        return response


def _again(stored: IdempotentAnswer, request: str) -> HttpResponse:
    if stored.request != request:
        detail = f"The {HEADER} was used for another call before. Use a new key for a new call, and the same body for the same one."
        raise invalid(flaw(("header", HEADER), detail))
    answer = HttpResponse(bytes(stored.content), status=stored.status, content_type="application/json", headers={REPLAYED: "true"})
    if stored.status == 204:
        del answer["Content-Type"]
    return answer
