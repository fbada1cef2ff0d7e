"""The triggerer's child: the one process in which the code of triggers runs, without a way to the database or to keys.

* `client` – starts the child, writes to it, hears it; the only part that `apps.runs.triggerer` imports
* `child` – the process: reads messages, runs an asyncio task per trigger, says what they found
* `streams` – one poll for several watchers that share their source
* `logs` – what triggers log and print, told apart by trigger; `watch` – notices a trigger that blocks the loop

Messages are lines of JSON. A watcher's start has "watch": [[name, uri], …], its assets.
Down: {"do": "start", "id", "classpath", "kwargs", "ti", "dag_file"} · {"do": "cancel", "id", "kill"} ·
{"do": "answer", "ask", "status", "body"}. Up: {"is": "event", "id", "kind", "payload", "xcoms"} · {"is": "error", "id", "error"} ·
{"is": "log", "id", "line"} · {"is": "blocked", "id", "seconds", "where"} · {"is": "ask", "ask", "method", "path", "params", "body"}.
Values are JSON with the envelopes of `trackside.sdk.serde`.
"""

from trackside.runner.triggers.client import TriggerChild

__all__ = ["TriggerChild"]
