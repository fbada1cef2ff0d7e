"""Sensors that come with Trackside (those of Airflow's standard provider).

For DAG authors, through the import bridge. Next door: `sdk/sensor.py` has what all sensors do.
"""

from __future__ import annotations
