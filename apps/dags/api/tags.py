"""REST: the tags in use."""

from __future__ import annotations

from typing import Any

from apps.access import policy
from apps.access.rest.filters import Pattern
from apps.access.rest.operations import Call, operation
from apps.access.rest.paging import ORDER, PAGE, page, sort_keys
from apps.dags.models import DagTag

_FILTER = Pattern("tag_name", "name")
_SCHEMA = {
    "type": "object",
    "properties": {"tags": {"type": "array", "items": {"type": "string"}}, "total_entries": {"type": "integer"}},
}


@operation("GET /dagTags", may=("read", "dag"), query=(*PAGE, ORDER, *_FILTER.params), returns=_SCHEMA, filtered=True)
def get_dag_tags(call: Call) -> dict[str, Any]:
    """List the names of tags, each once."""
    rows = DagTag.objects.filter(policy.visible_dags(call.user, "dag")).values_list("name", flat=True).distinct()
    rows = _FILTER.narrow(rows, call.query)
    keys = sort_keys(call.query["order_by"], {"name": "name"}, ("name",), tie="name")
    found = page(rows, keys[:1], call.query["limit"], call.query["offset"])
    return {"tags": found, "total_entries": rows.count()}
