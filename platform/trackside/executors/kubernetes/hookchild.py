"""The process that calls `pod_mutation_hook`: user code, so it never runs in the executor's own process.

Started by `hooks` as `python -P -m trackside.executors.kubernetes.hookchild SECONDS`, with an environment that names neither the
database nor keys. Lines of JSON: first it says how many hooks there are, then it gets pods and gives changed pods.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import signal
import sys
import traceback
from types import SimpleNamespace
from typing import Any

from trackside.sdk.plugins import loading as plugins
from trackside.sdk.plugins import policies
from trackside.sdk.plugins.child import answers, told


@functools.cache
def _api() -> Any:
    from kubernetes import client  # takes a second; a site without hooks need not wait for it

    return client.ApiClient()


def mutated(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod after all hooks, which get it as a V1Pod and change it in place. Raises what they raise."""
    api, text = _api(), json.dumps(pod)
    if "content_type" in inspect.signature(api.deserialize).parameters:
        made = api.deserialize(text, "V1Pod", "application/json")
    else:  # clients before 36
        made = api.deserialize(SimpleNamespace(data=text), "V1Pod")
    for hook in policies.pod_mutation_hooks():
        hook(made)
    found = api.sanitize_for_serialization(made)
    if not isinstance(found, dict):
        raise TypeError("the pod is no V1Pod any more")
    return found


def _loaded() -> dict[str, Any]:
    from trackside import airflow

    airflow.install()
    plugins.load()
    folder = os.environ.get("TRACKSIDE_DAGS_FOLDER")
    if folder and folder not in sys.path:
        sys.path.append(folder)
    try:
        return {"hooks": len(policies.pod_mutation_hooks())}
    except BaseException as error:  # also SystemExit of the module
        traceback.print_exc()
        return {"error": f"{policies.MODULE} cannot be loaded: {told(error)}"}


def main() -> None:
    """Answer until the parent goes away."""
    say = answers()
    limit = int(sys.argv[1])
    signal.alarm(limit)  # the parent kills what hangs; this is for when the parent is gone
    say(_loaded())
    signal.alarm(0)
    for line in sys.stdin:
        signal.alarm(limit)
        try:
            say({"pod": mutated(json.loads(line))})
        except BaseException as error:  # also SystemExit of a hook
            traceback.print_exc()
            say({"error": told(error)})
        finally:
            signal.alarm(0)


if __name__ == "__main__":
    main()
