"""Bodies of list operations that take their filters as JSON instead of a query (`POST …/list`).

The range fields of such a body are the parameters of the range filters the list has: they are declared there only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import create_model

from apps.access.rest.body import Body
from apps.access.rest.filters import Filter, Range
from apps.access.rest.params import Natural


class BatchBody(Body):
    """What every such body has."""

    order_by: str | None = None
    page_offset: Natural = 0
    page_limit: Natural = 100


def with_ranges(base: type[BatchBody], name: str, filters: Iterable[Filter]) -> Any:
    """`base` as a model called `name`, with the fields of the range filters among `filters`."""
    fields: dict[str, Any] = {p.name: (p.kind | None, None) for f in filters if isinstance(f, Range) for p in f.params}
    return create_model(name, __base__=base, __doc__="Filters of the list, as a body.", **fields)


def batch_values(body: Any) -> dict[str, Any]:
    """Filter values of a batch body, under the names the list operation uses."""
    values: dict[str, Any] = body.model_dump()
    return values | {
        "limit": values["page_limit"],
        "offset": values["page_offset"],
        "order_by": [values["order_by"]] if values["order_by"] else None,
    }
