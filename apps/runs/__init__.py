"""The ledger: what ran, is running, will run. Runs, task instances, tries, pools; scheduler; execution API; REST.

Reading order: `scheduler.py` (tick) → `brain.py` (advance) → `trackside.core.planning` → `transitions.py` → `claims.py`.
"""
