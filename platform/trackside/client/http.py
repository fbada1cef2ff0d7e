"""One HTTP call to a server: what is sent, and what its refusal means. Shared by both clients."""

from __future__ import annotations

from typing import Any

import httpx


class ApiError(Exception):
    """The server refused: `status` and its own words."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{detail} ({status})")
        self.status, self.detail = status, detail


class Unreachable(Exception):
    """No answer from the server: wrong address, or it does not run."""


def answer(response: httpx.Response) -> Any:
    """The JSON of a good answer. Raises ApiError."""
    if response.is_success:
        if not response.content:
            return None
        return response.json() if "json" in response.headers.get("content-type", "") else response.text
    raise ApiError(response.status_code, _detail(response))


def _detail(response: httpx.Response) -> str:
    try:
        detail = response.json().get("detail")
    except (ValueError, AttributeError):
        detail = None
    if isinstance(detail, list):  # one entry per field
        return "; ".join(f"{'.'.join(map(str, d.get('loc', ())))}: {d.get('msg')}" for d in detail if isinstance(d, dict))
    if isinstance(detail, dict):
        return str(detail.get("message") or detail.get("reason") or detail)
    if detail:
        return str(detail)
    if response.status_code == 401:
        return "you are not signed in: give a token (TRACKSIDE_TOKEN, a profile, or token=)"
    return response.reason_phrase or "the server refused"


def given(**params: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in params.items() if value is not None}
