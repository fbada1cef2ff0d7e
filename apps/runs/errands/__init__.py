"""User code that the server wants run: callbacks, listeners, own timetables, deadlines. The server never runs it itself.

* `models` – a row per errand, a row per deadline · `queue` – rows come into being, in the transaction that is their cause
* `callbacks`, `listening` – what is put there when tries and runs end, begin, and when assets change
* `desk` – claims, facts for the child, answers while it runs, ends · `service` – the runner, a thread of the DAG processor's
  process that hands jobs to children (`trackside.runner.errands`) · `asking` – an errand whose answer somebody waits for
* `deadlines` – rows of deadlines, and what is missed · `plugin_report` – which plugins there are
"""
