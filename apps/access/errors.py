"""What a domain call of this app answers when it refuses; faces translate (see `apps.access.rest.errors`).

The same form as `apps.runs.errors`, which lies above this app: status, detail, field.
"""

from __future__ import annotations

from trackside.core import idtext


class Refused(Exception):
    """The call did nothing, and says why and what to do."""

    status = 400

    def __init__(self, detail: str, *, field: str | None = None):
        self.detail = detail
        self.field = field
        """Name of the argument that is wrong, if one is."""
        super().__init__(detail)


def check_name(text: str, what: str, field: str) -> None:
    """Raise Refused unless `text` may name a new `what`."""
    if why := idtext.flaw(text, what):
        raise Refused(why, field=field)


class NotThere(Refused):
    """The thing named does not exist."""

    status = 404


class Exists(Refused):
    """A thing of that name exists already."""

    status = 409


class Conflict(Refused):
    """The thing is in a state in which this cannot be done."""

    status = 409
