"""What a domain call answers when it refuses. Faces translate: REST to a status, pages to a message at the field."""

from __future__ import annotations

from typing import Any


class ActionRefused(Exception):
    """A domain call did nothing, and says why and what to do."""

    status = 400

    def __init__(self, detail: str | dict[str, Any], *, field: str | None = None):
        self.detail = detail
        self.field = field
        """Name of the argument that is wrong, if one is."""
        super().__init__(str(detail))


class NotFound(ActionRefused):
    """The thing named does not exist."""

    status = 404


class Conflict(ActionRefused):
    """The thing is in a state in which this cannot be done, or exists already."""

    status = 409


class Invalid(ActionRefused):
    """A value has the right type but cannot be used."""

    status = 422
