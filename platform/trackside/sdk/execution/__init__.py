"""The life of one try inside the task process: context, templates, execute, results, callbacks.

For the runner, which calls `run_task` (in `run`) with a StartOrder and a `Comms`, and for `dag.test()`, which does the
same with `MemoryComms`. Nothing here opens a connection: all questions to the server go through `comms`.
"""

from __future__ import annotations
