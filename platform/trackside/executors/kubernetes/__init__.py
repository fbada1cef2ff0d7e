"""Tries on Kubernetes: a pod per try. PostgreSQL is the truth, pods are a cache of it.

* `executor` – what the ledger talks to · `settings` – what a site chooses
* `builder` – the pod of a try, of `names`, the template, `merge` and the task's `pod_override` · `creating` – brings it to the API server
* `watching` – all pods of the site: list as the truth, watch as a hint · `reasons` – what a pod's state means, in words
* `api` – the few calls to the API server, in plain JSON

A pod's name follows from the UUID of its try, so that creating it twice makes one; nothing in memory matters.
"""

from __future__ import annotations
