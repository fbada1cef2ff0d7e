"""How queued tries get to where they run: what an executor is (`base`), which there are (`registry`), and each of them.

* `local` needs nothing here: workers pull (`trackside.runner`, POST /execution/exchange)
* `celery` – a message per try through a broker; Celery workers bring it to a worker's agent and fork server
* `kubernetes` – a pod per try

Nobody in here knows the database: `apps.runs.executors` hands over references of tries, and makes transitions of what an
executor sees. Another distribution adds an executor with an entry point in the group `trackside.executors`.
"""

from __future__ import annotations
