"""A supervisor process for the tests: `python supervise.py <home> <how>` starts the server, then obeys lines on stdin.

Answers each order with one line of JSON. The start and `restart`: {"server": ...} or {"refused": class, "message": ...,
"holder": pid}; `poll`: {"poll": ...}; `stop` and the end of stdin: {"stopped": true}. `how` is `plain`, `thread` (start
from a thread that ends), `fork` (leave a forked child behind, whose id is in the answer) or `broken` (a bad setting).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from config.embedded_postgres import AlreadyRunning, EmbeddedPostgres, EmbeddedPostgresError


def start(postgres: EmbeddedPostgres, how: str) -> dict[str, object]:
    answer: dict[str, object] = {}

    def begin() -> None:
        try:
            answer["server"] = asdict(postgres.start())
        except EmbeddedPostgresError as error:
            holder = error.pid if isinstance(error, AlreadyRunning) else None
            answer.update(refused=type(error).__name__, message=str(error), holder=holder)

    if how == "thread":
        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
    else:
        begin()
    if how == "fork":
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        answer["forked"] = child
    return answer


def main() -> None:
    how = sys.argv[2]
    settings = {"shared_buffers": "a lot"} if how == "broken" else {}
    postgres = EmbeddedPostgres(Path(sys.argv[1]), settings=settings)
    print(json.dumps(start(postgres, how)), flush=True)
    for order in sys.stdin:
        if order.strip() == "poll":
            print(json.dumps({"poll": postgres.poll()}), flush=True)
        elif order.strip() == "restart":
            print(json.dumps(start(postgres, how)), flush=True)
        elif order.strip() == "stop":
            break
    postgres.stop()
    print(json.dumps({"stopped": True}), flush=True)


if __name__ == "__main__":
    main()
