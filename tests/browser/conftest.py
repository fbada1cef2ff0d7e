"""A real Chromium against a web process on the test database, with rows made by factories."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from django.conf import settings
from django.db import connection
from django.test import Client

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright's sync API keeps a loop on the test's thread
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
KEEP_SOCKETS = (
    "window.sockets = []; window.WebSocket = class extends WebSocket { constructor(...a) { super(...a); window.sockets.push(this); } };"
)
"""Lets a test break the line: `sockets.forEach(s => s.close())`."""
ARGUMENTS = [
    "--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def leave_no_connections(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The web process's threads keep connections; the test database could not be dropped with them."""
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    connection.close()


@pytest.fixture
def web(transactional_db: None) -> Iterator[str]:
    """Address of a web process (in a thread) that serves the test database."""
    from config.asgi import application

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline, "the web process did not start"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(15)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, shared by the tests of a module; skipped where there is none. Each test has a context of its own.

    Not shared by the session: while it runs, its loop runs on the test's thread, and tests elsewhere start loops of their own.
    """
    api = pytest.importorskip("playwright.sync_api")
    if not os.path.exists(CHROMIUM):  # noqa: PTH110
        pytest.skip("no Chromium here")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, headless=True)
        yield started
        started.close()


@pytest.fixture
def page(web: str, browser: Any) -> Iterator[Any]:
    """A page of somebody who signed in. Whatever the console complains about, but a refused form, fails the test."""
    from apps.ui.tests import factories

    client = Client()
    client.force_login(factories.user("mara"))
    context = browser.new_context(base_url=web, viewport={"width": 1280, "height": 800}, timezone_id="UTC")
    session = client.cookies[settings.SESSION_COOKIE_NAME]
    context.add_cookies([{"name": session.key, "value": session.value, "url": web}])
    context.add_init_script(KEEP_SOCKETS)
    opened = context.new_page()
    complaints: list[str] = []
    opened.complaints = complaints
    opened.on("console", lambda m: complaints.append(m.text) if m.type == "error" and "status of 422" not in m.text else None)
    opened.on("pageerror", lambda e: complaints.append(str(e)))
    yield opened
    context.close()
    assert not complaints, complaints
