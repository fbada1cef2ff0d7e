"""Small modules of Airflow's own that DAG files and providers import, in Trackside's words.

For the table in `trackside.airflow.names` only. Nothing here knows about DAGs or tasks.
"""

from __future__ import annotations
