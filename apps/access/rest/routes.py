"""URL patterns of all registered operations, one view per path, and the answer for paths that do not exist.

A path that two templates match (`/connections/test` and `/connections/{connection_id}`) belongs to the literal one; a
method it lacks is looked for in the other, as FastAPI does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.access.rates import PersonThrottle, TokenThrottle, sentence
from apps.access.rest.errors import Problem, problem_of
from apps.access.rest.operations import AIRFLOW, OWN, PUBLIC, REGISTRY, Operation, json_answer

_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")
_PART, _REST = "[^/]+", "(?s:.+)"


class _AnyMedia(BaseContentNegotiation):
    """Operations look at Accept themselves where it matters (logs, sources); elsewhere JSON it is."""

    def select_parser(self, request: Request, parsers: Any) -> BaseParser:
        return parsers[0]  # type: ignore[no-any-return]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> tuple[BaseRenderer, str]:
        return renderers[0], "application/json"


class OperationView(APIView):
    """All operations of one path."""

    operations: ClassVar[dict[str, Operation]] = {}
    renderer_classes = (JSONRenderer,)
    permission_classes: tuple[type[BasePermission], ...] = ()  # each operation names its right; see Operation.run
    throttle_classes = (PersonThrottle, TokenThrottle)
    content_negotiation_class = _AnyMedia

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        """Find the operation, see who calls, run it; every failure becomes a wire error."""
        method = request.method or ""
        operation = self.operations.get(method)
        texts: Mapping[str, str] = kwargs
        if operation is None:
            operation, texts = _elsewhere(request, method)
        if operation is None:
            return _sent(json_answer({"detail": "Method Not Allowed"}, 405, {"Allow": ", ".join(sorted(self.operations))}))
        try:
            drf = self.initialize_request(request)
            if operation.may == PUBLIC:
                return _sent(operation.run(drf, None, texts))
            user: Any = drf.user
            if user is None:
                raise Problem(401, "Not authenticated", {"WWW-Authenticate": "Bearer"})
            self.throttle(drf)
            return _sent(operation.run(drf, user, texts))
        except Exception as e:
            problem = problem_of(e)
            return _sent(json_answer({"detail": problem.detail}, problem.status, problem.headers))


    def throttle(self, request: Request) -> None:
        """429 for whoever makes too many requests."""
        for limit in (kind() for kind in self.throttle_classes):
            if not limit.allow_request(request, self):
                seconds = int(limit.wait() or 1)
                raise Problem(429, sentence(seconds, limit.of), {"Retry-After": str(seconds)})


def _sent(response: HttpResponseBase) -> HttpResponseBase:
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _elsewhere(request: HttpRequest, method: str) -> tuple[Operation | None, Mapping[str, str]]:
    for pattern, operations in _TABLE:
        if method in operations and (match := pattern.match(request.path_info)):
            return operations[method], match.groupdict()
    return None, {}


_TABLE: list[tuple[re.Pattern[str], dict[str, Operation]]] = []


def _literal(text: str) -> str:
    """Escaped, but for the hyphen: it means nothing here, and the published paths are read from these patterns."""
    return re.escape(text).replace(r"\-", "-")


def _regex(template: str) -> str:
    """`/pools/{pool_name}` → a pattern for the whole path; `{key:path}` also takes slashes."""
    out, at = "", 0
    for m in _PARAMETER.finditer(template):
        out += _literal(template[at : m.start()]) + f"(?P<{m[1]}>{_REST if m[2] else _PART})"
        at = m.end()
    return out + _literal(template[at:]) + r"\Z"


def _literal_first(template: str) -> list[tuple[int, str]]:
    return [(2 if ":path}" in part else 1 if part.startswith("{") else 0, part) for part in template.split("/")]


def operation_patterns() -> list[URLPattern]:
    """URL patterns for everything in the registry. Import the modules that register operations first."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in REGISTRY:
        by_path.setdefault(operation.base + operation.path, {})[operation.method] = operation
    patterns = []
    _TABLE.clear()
    for template in sorted(by_path, key=_literal_first):
        operations = by_path[template]
        regex = _regex(template)
        _TABLE.append((re.compile(regex, re.DOTALL), operations))
        view: Any = type("OperationView", (OperationView,), {"operations": operations})
        patterns.append(re_path(f"^{regex.removeprefix('/')}", view.as_view()))
    return patterns


@csrf_exempt
def unknown(request: HttpRequest, rest: str = "") -> HttpResponse:
    """A path below /api/v2 that does not exist: GET 404 with `error`, others 405, as in Airflow."""
    if request.method == "GET":
        return json_answer({"error": "404: API route not found"}, 404)
    return json_answer({"detail": "Method Not Allowed"}, 405)


unknown_patterns = [re_path(rf"^{base.removeprefix('/')}(?P<rest>(/.*)?)\Z", unknown) for base in (AIRFLOW, OWN)]
