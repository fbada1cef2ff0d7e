"""The ledger's side of executors: hands references of queued tries to them, makes transitions of what they see.

`service` is the loop of `manage.py executor`, `rows` reads, `outcomes` writes (through `transitions`). The executors
themselves are in `trackside.executors` and know no database.
"""

from __future__ import annotations
