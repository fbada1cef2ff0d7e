"""Operators that come with Trackside (those of Airflow's standard provider).

For DAG authors, through the import bridge. Next door: `sdk/decorators.py` finds the classes behind `@task.<kind>` here.
"""

from __future__ import annotations
