"""The life of one try outside the server: take the order, run it in a process of its own, ship its log, report its end.

Who is who, from the outside in:

* `command` – settings from flags and environment; `__main__` – the same for one single try (pods, Celery messages), which is
  `single`'s; `ahead` – its fork server, forked off before anything else is imported; `warm` – one try after the other in a pod
* `agent` – holds tries, fills slots, stops; `exchange` – the conversation with `/execution/exchange`; `http` – its client
* `tries` – one held try: pipes, kill, end; `logs` – its log (see `core.masking`); `zygotes` – the agent's side of the fork server
* `forkserver` – the fork server and its zygotes (processes that have imported one DAG file); `procs` – trees of processes
* `child` – what runs in the process of the try; `client` – its way to the server; `channel` – frames between all of these

The server is reached by HTTP with the messages of `core.messages` only.
"""

from __future__ import annotations
