"""Every error answer of the REST API, in Airflow's shapes: `detail` is a text, an object, or a list of {type, loc, msg}.

Nothing that a caller sends may end in a 5xx: what PostgreSQL refuses (out of range, bad encoding) is the caller's error too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import DataError, IntegrityError, OperationalError
from psycopg.errors import ForeignKeyViolation
from pydantic import ValidationError
from rest_framework.exceptions import APIException, NotAuthenticated

log = logging.getLogger(__name__)


class Problem(Exception):
    """An answer other than success: a status and what `detail` says."""

    def __init__(self, status: int, detail: Any, headers: dict[str, str] | None = None):
        self.status, self.detail, self.headers = status, detail, headers or {}
        super().__init__(str(detail))


def not_found(what: str) -> Problem:
    """404 with a sentence."""
    return Problem(404, what)


def bad_request(why: str) -> Problem:
    """400 with a sentence."""
    return Problem(400, why)


def flaw(loc: Sequence[str | int], msg: str, kind: str = "value_error") -> dict[str, Any]:
    """One entry of a validation error: `loc` leads to the wrong value."""
    return {"type": kind, "loc": list(loc), "msg": msg}


def invalid(*flaws: dict[str, Any]) -> Problem:
    """422 with the list of what is wrong."""
    return Problem(422, list(flaws))


def flaws_of(error: ValidationError, place: Sequence[str | int]) -> list[dict[str, Any]]:
    """A pydantic error as wire entries. The refused value itself is left out: it may be a secret."""
    return [
        flaw([*place, *e["loc"]], e["msg"], e["type"]) for e in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def conflict_of(error: IntegrityError) -> Problem:
    """409 in the shape clients of Airflow parse: an object. SQL and values stay hidden."""
    constraint = getattr(getattr(error.__cause__, "diag", None), "constraint_name", None)
    if isinstance(error.__cause__, ForeignKeyViolation):
        return Problem(409, "This belongs to something that does not exist (any more): look what is there, and try again.")
    return Problem(
        409,
        {
            "reason": "Unique constraint violation",
            "statement": "hidden",
            "orig_error": "hidden",
            "message": f"The object exists already ({constraint})." if constraint else "The object exists already.",
        },
    )


def problem_of_refusal(error: Exception) -> Problem | None:
    """The answer for a refused domain call (`apps.runs.errors.ActionRefused`); None for other exceptions.

    That class lives above this app, so it is recognised by its form: `status`, `detail` and `field`.
    """
    status, detail = getattr(error, "status", None), getattr(error, "detail", None)
    if not isinstance(status, int) or detail is None or not 400 <= status < 500:
        return None
    field = getattr(error, "field", None)
    if status == 422 and field is not None and isinstance(detail, str):
        return Problem(422, [flaw(("body", field), detail)])
    return Problem(status, detail if isinstance(detail, str | dict | list) else str(detail))


def problem_of(error: Exception) -> Problem:
    """What to answer for anything that went wrong in an operation."""
    if isinstance(error, Problem):
        return error
    if (refusal := problem_of_refusal(error)) is not None:
        return refusal
    if isinstance(error, NotAuthenticated):
        return Problem(401, "Not authenticated", {"WWW-Authenticate": "Bearer"})
    if isinstance(error, APIException):
        headers = {"WWW-Authenticate": "Bearer"} if error.status_code == 401 else {}
        return Problem(error.status_code, str(error.detail), headers)
    if isinstance(error, RequestDataTooBig):
        return Problem(413, "The body of the request is too large.")
    if isinstance(error, SuspiciousOperation):
        return Problem(400, "The request cannot be read.")
    if isinstance(error, IntegrityError):
        return conflict_of(error)
    if isinstance(error, DataError):
        return invalid(flaw(("body",), "A value is out of range or cannot be stored.", "value_out_of_range"))
    if isinstance(error, OperationalError):
        log.warning("database not available: %s", error)
        return Problem(503, "The database is not available. Try again.", {"Retry-After": "1"})
    log.error("unexpected error in a REST operation", exc_info=error)
    return Problem(500, "Internal Server Error")
