"""What monitoring reads: `/metrics` and `/health` of the whole system, from the ledger.

Every process pushes its own facts through its row in `runs_process`, and the event stream is added up into `runs_tally` by
whichever scheduler comes by (`rollup`). So one scrape of any web process tells everything, no other process needs a port,
and counters survive restarts of all of them.

`door` answers over HTTP, `facts` reads in a fixed number of statements, `families` names the metrics, `health` judges.
"""
