"""Tries by Celery: a message per try through a broker, nothing but the try's UUID in it.

* `app` – the Celery application, the same for senders and workers
* `executor` – the server's end: sends messages, sends lost ones again
* `worker` – `trackside celery worker`: a Celery consumer in front of a worker's agent and fork server
* `pool` – how that consumer names tries to the agent and acknowledges them

PostgreSQL is the truth: there is no result back end, a message that comes twice starts nothing, a lost one is sent again.
"""

from __future__ import annotations
