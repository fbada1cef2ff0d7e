"""`trackside celery worker`: a Celery worker, from the wheel alone. For operators.

`trackside executor`, which brings tries to Celery and Kubernetes, is a process of the server (`processes`).
"""

from __future__ import annotations

import argparse
import os

from trackside.cli.words import Problem, Verbs, add, group


def celery_worker(given: argparse.Namespace, rest: list[str]) -> int:
    """A Celery worker; needs no server on this machine."""
    from trackside.core import logline

    try:
        from trackside.executors.celery import worker as celery
    except ImportError as error:
        raise Problem(f"{error}. Install what a Celery worker needs: pip install 'trackside[celery]'") from error
    from trackside.runner.command import WrongSetting, worker_token

    logline.configure("celery worker", os.environ)
    try:
        slots = given.concurrency or (int(given.autoscale.split(",")[0]) if given.autoscale else None)
        worker_token(os.environ)
        return celery.run_worker(celery.Options(given.queues, slots, given.hostname, given.api_url, given.executor))
    except (WrongSetting, ValueError) as error:
        raise Problem(str(error)) from error


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    about = "run a Celery worker, here or on any machine that reaches server and broker"
    one = add(group(verbs, "celery", "Celery workers"), "worker", celery_worker, about)
    one.add_argument("-q", "--queues", default=os.environ.get("TRACKSIDE_QUEUES", "default"), help="queues to serve, comma separated")
    one.add_argument("-c", "--concurrency", type=int, help="tasks at once (TRACKSIDE_PARALLELISM, 16)")
    one.add_argument("-a", "--autoscale", help="most,least tasks at once; a slot that is not used costs nothing, so only `most` counts")
    one.add_argument("-H", "--celery-hostname", "--name", dest="hostname", help="what the worker is called")
    one.add_argument("--api-url", help="address of the server (TRACKSIDE_API_URL, http://127.0.0.1:8080)")
    one.add_argument("--executor", default="celery", help="alias of the executor in TRACKSIDE_EXECUTOR")
