"""Makes each page some times in this process, on the database that is named, and prints a line of JSON. For `pages.py`.

Arguments: DAG, runs of its grid, how often. Without network and server: what the page itself costs.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from apps.access.models import User  # noqa: E402
from bench.pages import addresses  # noqa: E402


def main() -> None:
    """Time, size and number of statements of each page."""
    dag_id, runs, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
    settings.ALLOWED_HOSTS = ["testserver"]
    client = Client()
    client.force_login(User.objects.filter(is_superuser=True).order_by("pk")[0], backend="django.contrib.auth.backends.ModelBackend")
    found = {}
    for name, path in {
        **addresses(dag_id),
        "grid data": f"/ui/grid/{dag_id}?runs={runs}",
        "grid data, 25 runs": f"/ui/grid/{dag_id}",
    }.items():
        took = []
        for _ in range(times + 1):
            began = time.perf_counter()
            answer = client.get(path)
            took.append(time.perf_counter() - began)
        assert answer.status_code == 200, (name, answer.status_code)
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        found[name] = {
            "ms": round(1000 * statistics.median(took[1:]), 1),
            "kb": round(len(answer.content) / 1000, 1),
            "queries": len(queries),
        }
    print(json.dumps(found))  # noqa: T201


main()
