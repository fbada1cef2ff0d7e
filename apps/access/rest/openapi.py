"""The published description (`/openapi.json`): drf-spectacular reads it from the registered operations.

Nothing is described twice: parameters come from the declared filters, bodies from their pydantic models, answers from the
fields of the resources.
"""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from pydantic import TypeAdapter

_ERROR = {"type": "object", "properties": {"detail": {}}, "required": ["detail"]}
_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")


class OperationSchema(AutoSchema):
    """Describes one operation."""

    @property
    def operation(self) -> Any:
        view: Any = self.view
        return view.operations[self.method]

    def get_operation_id(self) -> str:
        return str(self.operation.id)

    def get_description(self) -> str:  # type: ignore[override]
        return (self.operation.function.__doc__ or "").strip()

    def get_tags(self) -> list[str]:
        module = self.operation.function.__module__.rsplit(".", 1)[-1]
        return [module.replace("_", " ").capitalize()]

    def get_auth(self) -> list[dict[str, list[str]]]:
        return [] if self.operation.may[0] == "public" else [{"bearer": []}]

    def get_override_parameters(self) -> list[Any]:
        path = [
            OpenApiParameter(name, self._path_schema(name), OpenApiParameter.PATH, required=True)
            for name in _PARAMETER.findall(self.operation.path)
        ]
        query = [
            OpenApiParameter(p.name, p.schema(), OpenApiParameter.QUERY, required=p.required, description=p.help)
            for p in self.operation.query
        ]
        return path + query

    def _path_schema(self, name: str) -> dict[str, Any]:
        return dict(TypeAdapter(self.operation.path_kinds.get(name, str)).json_schema())

    def get_filter_backends(self) -> list[Any]:
        return []

    def get_request_serializer(self) -> Any:
        if self.operation.body is None:
            return None
        return {"application/json": _inlined(TypeAdapter(self.operation.body).json_schema())}

    def get_response_serializers(self) -> Any:
        answer = OpenApiResponse(response=self.operation.returns, description="Successful answer")
        out: dict[Any, Any] = {self.operation.status: answer if self.operation.returns else None}
        for status in (401, 403, 404, 422):
            out[status] = OpenApiResponse(response=_ERROR, description=_NAMES[status])
        return out


_NAMES = {401: "Not authenticated", 403: "Forbidden", 404: "Not found", 422: "Validation error"}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without `$defs`: references are replaced by what they name (no body refers to itself)."""
    defs = schema.pop("$defs", {})

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return walk(defs[node["$ref"].rsplit("/", 1)[-1]])
            return {k: walk(v) for k, v in node.items() if k != "discriminator"}
        return [walk(x) for x in node] if isinstance(node, list) else node

    return dict(walk(schema))
