"""The Celery application: where the broker is, and the one task there is. For `executor`, `worker` and `config.celery`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from celery import Celery

TASK = "trackside.run_try"
BROKER_URL = "redis://127.0.0.1:6379/0"
DAY = 86_400


def make_app(environment: Mapping[str, str] | None = None) -> Celery:
    """An application as TRACKSIDE_CELERY_BROKER_URL (or `…_FILE`) and TRACKSIDE_CELERY_VISIBILITY_TIMEOUT say."""
    found = os.environ if environment is None else environment
    app = Celery("trackside", broker=broker_url(found), set_as_current=False, fixups=set())  # no Django, whatever the environment says
    app.conf.update(
        task_serializer="json", accept_content=["json"], result_backend=None, task_ignore_result=True,
        # a worker that dies leaves its messages to others; a try that was started from one of them is not started again
        task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1,
        task_default_queue="default", task_create_missing_queues=True,
        broker_connection_retry_on_startup=True, broker_connection_timeout=4, worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=True, worker_hijack_root_logger=False, worker_redirect_stdouts=False, enable_utc=True,
        broker_transport_options=transport_options(broker_url(found), int(found.get("TRACKSIDE_CELERY_VISIBILITY_TIMEOUT") or DAY)),
    )  # fmt: skip
    return app


def broker_url(environment: Mapping[str, str]) -> str:
    """Where the broker is."""
    if url := environment.get("TRACKSIDE_CELERY_BROKER_URL"):
        return url
    if path := environment.get("TRACKSIDE_CELERY_BROKER_URL_FILE"):
        return Path(path).read_text(encoding="utf-8").strip()
    return BROKER_URL


def transport_options(url: str, visibility_timeout: int) -> dict[str, object]:
    """What Redis must be told; other brokers need nothing."""
    if not urlsplit(url).scheme.startswith(("redis", "valkey", "sentinel")):
        return {}
    # longer than any try should run: a message that comes back earlier is harmless, but a waste
    return {"visibility_timeout": visibility_timeout, "socket_timeout": 10, "socket_connect_timeout": 4, "socket_keepalive": True}


def shown(url: str) -> str:
    """The broker's address without its password, for sentences."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
