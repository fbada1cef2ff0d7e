"""Query and path parameters: what kinds there are, and reading them with FastAPI's error shapes.

Kinds are pydantic types, so `limit=1.5` or `start_date_gte=2024-01-01` give the same 422 entries as Airflow; a date
without a zone is refused too (Airflow answers 500 there).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from django.http import QueryDict
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from apps.access.rest.errors import flaw, flaws_of

Natural = Annotated[int, Field(ge=0)]
"""A number of things: not negative."""
DateTime = AwareDatetime
MAX_BIGINT = 2**63 - 1


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@dataclass(frozen=True)
class Param:
    """One query parameter."""

    name: str
    kind: Any = str
    default: Any = None
    required: bool = False
    many: bool = False
    """May be repeated; the value is a list."""
    help: str = ""

    def read(self, query: QueryDict) -> tuple[Any, list[dict[str, Any]]]:
        """(value, what is wrong)."""
        given = query.getlist(self.name)
        if not given:
            if self.required:
                return None, [flaw(("query", self.name), "Field required", "missing")]
            return self.default, []
        texts = given if self.many else given[-1:]
        values, wrong = [], []
        for i, text in enumerate(texts):
            place = ("query", self.name, i) if self.many and self.kind is not str else ("query", self.name)
            if "\x00" in text:
                wrong.append(flaw(place, "must not contain a NUL character"))
                continue
            try:
                values.append(text if self.kind is str else _adapter(self.kind).validate_python(text))
            except ValidationError as e:
                wrong += flaws_of(e, place)
        if wrong:
            return None, wrong
        return (values if self.many else values[0]), []

    def schema(self) -> dict[str, Any]:
        """JSON schema of the value, for OpenAPI."""
        one = dict(_adapter(self.kind).json_schema())
        return {"type": "array", "items": one} if self.many else one


def read_query(params: Iterable[Param], query: QueryDict) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Every declared parameter by name, and everything that is wrong. Unknown parameters are ignored, as in Airflow."""
    values: dict[str, Any] = {}
    wrong: list[dict[str, Any]] = []
    for param in params:
        values[param.name], flaws = param.read(query)
        wrong += flaws
    return values, wrong


def read_path(kinds: Mapping[str, Any], texts: Mapping[str, str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Path parameters by name; those with another kind than text are checked."""
    values: dict[str, Any] = {}
    wrong: list[dict[str, Any]] = []
    for name, text in texts.items():
        if "\x00" in text:
            wrong.append(flaw(("path", name), "must not contain a NUL character"))
            continue
        try:
            kind = kinds.get(name, str)
            values[name] = text if kind is str else _adapter(kind).validate_python(text)
        except ValidationError as e:
            wrong += flaws_of(e, ("path", name))
    return values, wrong
