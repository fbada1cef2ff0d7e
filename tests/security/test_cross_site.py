"""S14, S15: another site's page changes nothing and hears nothing in the name of whoever looks at it. `apps/ui/tests/test_live_socket.py`
has what sockets say and when they end.
"""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import get_resolver

from apps.access.rest.operations import PUBLIC, REGISTRY
from apps.ui.live.consumer import same_origin
from apps.ui.tests import factories


@pytest.mark.django_db
def test_s14_no_operation_that_changes_something_takes_a_session_without_its_csrf_token():
    client, asked = Client(enforce_csrf_checks=True), 0
    get_resolver().url_patterns  # noqa: B018 - all operations are known when the routes are
    client.force_login(factories.user())
    for operation in REGISTRY:
        if operation.method == "GET" or operation.may == PUBLIC:
            continue
        path = operation.base + re.sub(r"\{(\w+)[^}]*\}", "1", operation.path)
        answer = client.generic(operation.method, path, "{}", content_type="application/json")
        assert answer.status_code == 403 and "CSRF" in answer.content.decode(), (operation.id, answer.status_code)
        asked += 1
    assert asked > 60


@pytest.mark.parametrize(
    "origin",
    [b"", b"null", b"https://evil.example", b"http://localhost:8081", b"http://sub.localhost:8080", b"http://localhost:8080.evil.example",
     b"http://localhost:8080@evil.example", b"localhost:8080"],
)  # fmt: skip
def test_s15_a_socket_opens_for_pages_of_this_very_host_and_port_only(origin):
    headers = [(b"host", b"localhost:8080")]
    assert same_origin({"headers": [*headers, (b"origin", b"http://localhost:8080")]})
    assert not same_origin({"headers": [*headers, *([(b"origin", origin)] if origin else [])]})
