"""A whole Trackside on one machine: `trackside standalone`, `manage.py standalone`, `make up`.

One light asyncio process (no Django in it) supervises the embedded PostgreSQL, web, scheduler, DAG processor and a
worker. Who is who, in the order of a start:

* `options` – flags and environment; `home` – one stack per home, one per port
* `supervisor` – the order of start and stop, and what happens when a part dies
* `parts` – which processes there are and what each of them may know; `services` – one of them, kept alive
* `launch` – ties a child's life to the supervisor's; `prepare` – tables and the first user, in a child with Django
* `readiness` – when everything answers; `ready_file` – telling other programs; `console` – telling people
"""
