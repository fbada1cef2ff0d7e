"""The published description as JSON (`/openapi.json`) and as pages to read (`/docs`), both open to everybody, as in Airflow.

The pages are made on the server of the same description: no script, nothing from other hosts, so the content policy stays strict.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.access.rest.openapi import describe

_METHODS = ("get", "post", "put", "patch", "delete")


@cache
def described() -> dict[str, Any]:
    """The description of this process; operations do not change while it runs."""
    return describe(version=settings.VERSION)


@cache
def _file() -> tuple[bytes, str]:
    content = json.dumps(described(), ensure_ascii=False, separators=(",", ":")).encode()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


@require_safe
def description(request: HttpRequest) -> HttpResponse:
    """GET /openapi.json."""
    content, etag = _file()
    known = request.headers.get("If-None-Match") == etag
    answer = HttpResponse(status=304) if known else HttpResponse(content, content_type="application/json")
    answer["ETag"], answer["Cache-Control"] = etag, "private, max-age=300"
    return answer


def _sections(word: str, tag: str) -> list[dict[str, Any]]:
    """Tags with their operations that fit the search."""
    doc = described()
    found: dict[str, list[dict[str, Any]]] = {t["name"]: [] for t in doc["tags"]}
    for path, methods in doc["paths"].items():
        for method in _METHODS:
            if (op := methods.get(method)) is None or (tag and tag not in op["tags"]):
                continue
            if word.lower() in f"{method} {path} {op['operationId']} {op['description']}".lower():
                found[op["tags"][0]].append(_shown(path, method, op))
    words = {t["name"]: t["description"] for t in doc["tags"]}
    return [{"name": name, "text": words[name], "operations": ops} for name, ops in found.items() if ops]


def _shown(path: str, method: str, op: dict[str, Any]) -> dict[str, Any]:
    body = (op.get("requestBody") or {}).get("content", {}).get("application/json", {})
    answers = [
        {"status": status, "text": answer["description"], "example": _example(answer)}
        for status, answer in sorted(op["responses"].items())
    ]  # fmt: skip
    return {
        "id": op["operationId"],
        "path": path,
        "method": method.upper(),
        "summary": op["summary"],
        "text": op["description"],
        "parameters": [p | {"kind": _kind(p["schema"])} for p in op["parameters"]],
        "body": _pretty(body.get("example")),
        "answers": answers,
        "open": op.get("security") == [],
    }


def _example(answer: dict[str, Any]) -> str:
    return "" if not answer["description"].startswith("The answer") else _pretty(_media(answer).get("example"))


def _media(answer: dict[str, Any]) -> dict[str, Any]:
    return next(iter(answer.get("content", {}).values()), {})


def _pretty(value: Any) -> str:
    return "" if value is None else json.dumps(value, indent=2, ensure_ascii=False)


def _kind(schema: dict[str, Any]) -> str:
    """A type in words."""
    if "anyOf" in schema:
        return " or ".join(_kind(s) for s in schema["anyOf"])
    if schema.get("type") == "array":
        return f"{_kind(schema.get('items', {}))}, may be repeated"
    if schema.get("enum"):
        return " | ".join(str(v) for v in schema["enum"])
    return str(schema.get("format") or schema.get("type") or "any")


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """GET /docs: all operations; `tag` shows one family in full, `q` searches."""
    word, tag = request.GET.get("q", "")[:100].strip(), request.GET.get("tag", "")[:100]
    context = {"word": word, "tag": tag, "sections": _sections(word, tag), "whole": bool(tag or word), "doc": described()}
    return render(request, "api/docs.html", context)
