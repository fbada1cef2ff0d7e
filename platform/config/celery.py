"""The Celery application of the site, for Celery's own tools: `celery -A config.celery inspect active`.

Workers are started by `trackside celery worker`, which needs no Django; messages are sent by `manage.py executor`.
"""

from __future__ import annotations

from trackside.executors.celery.app import make_app

app = make_app()
