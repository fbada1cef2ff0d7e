"""The published description (OpenAPI 3.1), made of the registered operations; nothing is described twice.

Parameters come from the declared filters, bodies from their pydantic models, answers from the fields of the resources, words
from the docstrings. What all errors look like is said once. Shown by `docs.py`, served as `/openapi.json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, TypeAdapter

from apps.access.rest.examples import example_of
from apps.access.rest.idempotency import HEADERS
from apps.access.rest.operations import PUBLIC, REGISTRY, Operation

TITLE = "Trackside"
DESCRIPTION = """The REST API of Trackside. `/api/v2` is compatible with the public API of Airflow 3.3; `/api/trackside/v1` is what
Trackside adds to it. Get a token with `POST /auth/token` and send it as `Authorization: Bearer <token>`."""
_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")
_UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
_REF = "#/components/schemas/"

STATUSES = {
    400: "What was asked for does not make sense; `detail` says why.",
    401: "No credentials, or credentials that are not good any more.",
    403: "The caller may not do this.",
    404: "No such object, or none that the caller may see.",
    405: "The path has no such method.",
    406: "No media type of `Accept` can be answered.",
    409: "The state of the object does not allow this, or it exists already.",
    412: "There are no entity tags or dates to compare with.",
    413: "The body is too large.",
    422: "A parameter or the body is not valid; `detail` names the places.",
    429: "Too many requests by this person or token; `Retry-After` says when to try again.",
}
_FLAW = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "loc": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
        "msg": {"type": "string"},
    },
    "required": ["type", "loc", "msg"],
}
_ERROR = {
    "type": "object",
    "properties": {
        "detail": {
            "anyOf": [
                {"type": "string"},
                {"type": "object"},
                {"type": "array", "items": {"anyOf": [{"$ref": f"{_REF}Flaw"}, {"type": "string"}]}},
            ]
        }
    },
    "required": ["detail"],
}


def path_of(operation: Operation) -> str:
    """The whole path, as OpenAPI writes it."""
    return operation.base + operation.path.replace(":path}", "}")


def describe(*, version: str, operations: Iterable[Operation] | None = None) -> dict[str, Any]:
    """The whole description."""
    schemas: dict[str, Any] = {"Error": _ERROR, "Flaw": _FLAW}
    paths: dict[str, Any] = {}
    tags: dict[str, str] = {}
    for operation in REGISTRY if operations is None else operations:
        tags.setdefault(tag_of(operation), _first_line(_module(operation).__doc__ or "").removeprefix("REST: "))
        paths.setdefault(path_of(operation), {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": version, "description": DESCRIPTION},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in sorted(tags.items())],
    }


def tag_of(operation: Operation) -> str:
    """Heading under which the operation stands: the module that declares it."""
    word = operation.function.__module__.rsplit(".", 1)[-1].replace("_", " ")
    return word[:1].upper() + word[1:] + ("" if operation.base == "/api/v2" else " (Trackside)")


def _module(operation: Operation) -> Any:
    import sys

    return sys.modules[operation.function.__module__]


def _first_line(text: str) -> str:
    return " ".join(text.strip().partition("\n\n")[0].split())


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    words = (operation.function.__doc__ or operation.id).strip()
    out: dict[str, Any] = {
        "operationId": operation.id,
        "summary": _first_line(words).partition(". ")[0].rstrip("."),
        "description": " ".join(words.split()),
        "tags": [tag_of(operation)],
        "parameters": _parameters(operation),
        "responses": _responses(operation, schemas),
    }
    if operation.body is not None:
        out["requestBody"] = _body(operation, schemas)
    if operation.may == PUBLIC:
        out["security"] = []
    return out


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for name in _PARAMETER.findall(operation.path):
        schema = dict(TypeAdapter(operation.path_kinds.get(name, str)).json_schema())
        out.append({"name": name, "in": "path", "required": True, "schema": schema})
    for param in operation.query:
        schema = param.schema()
        if param.default is not None:
            schema["default"] = param.default
        entry: dict[str, Any] = {"name": param.name, "in": "query", "required": param.required, "schema": schema}
        out.append(entry | ({"description": param.help} if param.help else {}))
    keyed = HEADERS if operation.method in _UNSAFE and operation.may != PUBLIC else {}
    for name, text in {**operation.headers, **keyed}.items():
        out.append({"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": text})
    return out


def _body(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    schema = dict(TypeAdapter(operation.body).json_schema(ref_template=_REF + "{model}"))
    for name, part in schema.pop("$defs", {}).items():
        schemas.setdefault(_plain(name), part)
    if isinstance(operation.body, type) and issubclass(operation.body, BaseModel):
        schemas.setdefault(_plain(operation.body.__name__), schema)
        schema = {"$ref": _REF + _plain(operation.body.__name__)}
    return {
        "required": not operation.body_optional,
        "content": {"application/json": {"schema": schema, "example": example_of(_resolved(schema, schemas), only_required=True)}},
    }


def _plain(name: str) -> str:
    """A name OpenAPI allows: `BulkBody[PoolBody]` → `BulkBody_PoolBody_`."""
    return re.sub(r"[^\w.-]", "_", name)


def _resolved(schema: Any, schemas: dict[str, Any], depth: int = 0) -> Any:
    """Without references: what an example is made of."""
    if isinstance(schema, dict):
        if "$ref" in schema and depth < 20:
            return _resolved(schemas[schema["$ref"].removeprefix(_REF)], schemas, depth + 1)
        return {k: _resolved(v, schemas, depth) for k, v in schema.items()}
    return [_resolved(v, schemas, depth) for v in schema] if isinstance(schema, list) else schema


def statuses_of(operation: Operation) -> set[int]:
    """Every status an operation may answer but its success."""
    found = set(operation.errors)
    if operation.may != PUBLIC:
        found |= {400, 401, 403, 429}
    if "{" in operation.path:
        found.add(404)
    if operation.query or operation.body is not None or operation.path_kinds or "{" in operation.path:
        found.add(422)
    if operation.query:
        found.add(400)
    if operation.body is not None:
        found.add(413)
    if operation.method in _UNSAFE and operation.may != PUBLIC:
        found |= {404, 409, 412, 422}
    return found


def _responses(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done." if operation.status == 204 else "The answer."}
    if operation.status != 204:
        schema = operation.returns if operation.returns is not None else {}
        if title := schema.get("title"):
            schemas.setdefault(title, {k: v for k, v in schema.items() if k != "title"})
            example, schema = example_of(schema), {"$ref": _REF + title}
        else:
            example = example_of(schema)
        media = {"schema": schema, **({} if example is None else {"example": example})}
        success["content"] = {name: media if name.endswith("json") else {"schema": {"type": "string"}} for name in operation.media}
    out: dict[str, Any] = {str(operation.status): success}
    error = {"application/json": {"schema": {"$ref": f"{_REF}Error"}}}
    for status in sorted(statuses_of(operation)):
        out[str(status)] = {"description": STATUSES[status], "content": error}
    return out
