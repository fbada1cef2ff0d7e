"""The kinds of filters a resource can declare. Each one names its query parameters and narrows a queryset by their values.

Meanings are Airflow's: `*_pattern` ignores case, knows `%`, `_` and `|` (or) and looks anywhere in the text; `*_prefix_pattern`
is exact and literal; `~` means all; ranges are `_gte _gt _lte _lt`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import CharField, Lookup, Q, QuerySet, TextField
from django.utils.timezone import now

from apps.access.rest.errors import Problem
from apps.access.rest.params import DateTime, Param

Values = Mapping[str, Any]


@CharField.register_lookup
@TextField.register_lookup
class ILike(Lookup):
    """`column__ilike="%a_b%"`: PostgreSQL's ILIKE with the pattern as it is."""

    lookup_name = "ilike"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return f"{left} ILIKE {right}", [*left_params, *right_params]

    def get_prep_lookup(self) -> Any:
        """The pattern goes to the database untouched."""
        return str(self.rhs)


class Filter:
    """One filter: which parameters it reads, and what they do to the rows."""

    params: tuple[Param, ...] = ()

    def narrow(self, rows: QuerySet[Any], values: Values) -> QuerySet[Any]:
        """`rows` without those that do not fit. Parameters that were not given do nothing."""
        raise NotImplementedError


def any_of(column: str, texts: Iterable[str], lookup: str, wrap: Callable[[str], str]) -> Q:
    """OR over the alternatives of a pattern."""
    wanted = Q()
    for text in texts:
        wanted |= Q(**{f"{column}__{lookup}": wrap(text)})
    return wanted


class Pattern(Filter):
    """`<name>_pattern` and `<name>_prefix_pattern` on one text column. Either one also leaves out rows without a text.

    A prefix counts up to its last letter or digit (`"test_"` is `"test"`), so `~`, `%` and an empty one mean all.
    With `alternatives` off, `|` is a character like any other.
    """

    def __init__(self, name: str, column: str | None = None, *, alternatives: bool = True):
        self.name, self.column, self.alternatives = name, column or name, alternatives
        self.params = (
            Param(f"{name}_pattern", help="Text anywhere, any case; % and _ are wildcards, | means or, ~ all."),
            Param(f"{name}_prefix_pattern", help="Beginning of the text, exact; | means or, ~ all."),
        )

    def narrow(self, rows: QuerySet[Any], values: Values) -> QuerySet[Any]:
        pattern, prefix = values.get(f"{self.name}_pattern"), values.get(f"{self.name}_prefix_pattern")
        if pattern is not None:
            texts = self._texts("%" if pattern == "~" else pattern)
            rows = rows.filter(any_of(self.column, texts, "ilike", lambda t: f"%{t}%"))
        if prefix is not None:
            rows = rows.filter(any_of(self.column, self._texts(prefix), "startswith", _up_to_a_letter))
        return rows

    def _texts(self, pattern: str) -> list[str]:
        if not self.alternatives or "|" not in pattern:
            return [pattern]
        return [p.strip() for p in pattern.split("|") if p.strip()] or [pattern]


def _up_to_a_letter(text: str) -> str:
    while text and not text[-1].isalnum():
        text = text[:-1]
    return text


class Range(Filter):
    """`<name>_gte`, `_gt`, `_lte`, `_lt`.

    With `open_end` a row without a value counts as one that will have one: it is not before any moment that is still to come,
    and never before one that passed. Zero as a bound of a number is no bound (both as in Airflow).
    """

    def __init__(self, name: str, column: str | None = None, kind: Any = DateTime, *, open_end: bool = False):
        self.name, self.column, self.open_end = name, column or name, open_end
        self.params = tuple(Param(f"{name}_{op}", kind) for op in ("gte", "gt", "lte", "lt"))

    def narrow(self, rows: QuerySet[Any], values: Values) -> QuerySet[Any]:
        for op in ("gte", "gt", "lte", "lt"):
            if value := values.get(f"{self.name}_{op}"):
                fits = Q(**{f"{self.column}__{op}": value})
                if self.open_end and (op in ("gte", "gt") or now() <= value):
                    fits |= Q(**{f"{self.column}__isnull": True})
                rows = rows.filter(fits)
        return rows


class Equals(Filter):
    """`<name>`: exactly this value; with `many` any of several."""

    def __init__(self, name: str, column: str | None = None, kind: Any = str, *, many: bool = False):
        self.name, self.column, self.many = name, column or name, many
        self.params = (Param(name, kind, many=many),)

    def narrow(self, rows: QuerySet[Any], values: Values) -> QuerySet[Any]:
        value = values.get(self.name)
        if value is None or value == "":
            return rows
        return rows.filter(**{f"{self.column}__in": value}) if self.many else rows.filter(**{self.column: value})


class States(Filter):
    """`state`, repeatable; a word that is no state gives a 422 whose detail is a text (sic)."""

    def __init__(self, name: str, words: Iterable[str], column: str | None = None, *, none: str | None = None):
        self.name, self.column, self.words, self.none = name, column or name, [str(w) for w in words], none
        self.params = (Param(name, many=True),)

    def narrow(self, rows: QuerySet[Any], values: Values) -> QuerySet[Any]:
        given = values.get(self.name)
        if not given:
            return rows
        words = self.checked(given)
        wanted = Q(**{f"{self.column}__in": [w for w in words if w is not None]})
        return rows.filter(wanted | Q(**{f"{self.column}__isnull": True}) if None in words else wanted)

    def checked(self, given: Iterable[str | None]) -> list[str | None]:
        """The states as the column holds them."""
        out: list[str | None] = []
        for word in given:
            if word in (None, "none") or (word == "no_status" and self.none is not None):
                out.append(self.none)
            elif word in self.words:
                out.append(word)
            else:
                raise Problem(422, f"Invalid value for {self.name.replace('_', ' ')}. Valid values are {', '.join(self.words)}")
        return out


class Declared(Filter):
    """Parameters that the operation reads itself."""

    def __init__(self, *params: Param):
        self.params = params

    def narrow(self, rows: QuerySet[Any], values: Values) -> QuerySet[Any]:
        return rows


@dataclass
class Custom(Filter):
    """A filter of its own kind: `apply(rows, value)` when its parameter is given."""

    param: Param
    apply: Callable[[QuerySet[Any], Any], QuerySet[Any]]
    params: tuple[Param, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.params = (self.param,)

    def narrow(self, rows: QuerySet[Any], values: Values) -> QuerySet[Any]:
        value = values.get(self.param.name)
        return rows if value is None else self.apply(rows, value)
