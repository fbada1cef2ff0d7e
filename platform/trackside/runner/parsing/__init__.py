"""Parsing DAG files away from the server: a warm parent forks one limited, short-lived process per file.

For the DAG processor (`apps.dags.processor`), which talks to `client.ParseServer`. Who is who:

* `client` – starts the parse server, hands it files, reads replies; the only part that the processor imports
* `server` – the warm parent: forks, watches limits, kills trees of processes, collects output and results
* `child` – what runs in the process of one file: limits, the loader, the specs as JSON
* `guard` – what is refused before the loader runs (zip bombs) and before the result leaves (text no database can hold)
* `results` – `ParseResult`, and the sentences for files that ended their process; `wire` – frames between all of these

User code runs in `child` only: without database credentials in its environment, with a limit on time, memory,
processes and output.
"""

from trackside.runner.parsing.client import ParseServer, ParseServerFailed
from trackside.runner.parsing.results import ParseProblem, ParseReply, ParseResult
from trackside.runner.parsing.settings import ParseSettings

__all__ = ["ParseProblem", "ParseReply", "ParseResult", "ParseServer", "ParseServerFailed", "ParseSettings"]
