"""`airflow.sdk.observability.stats`: counting in task code by plain functions. They go where `Stats` goes: to the debug log."""

from __future__ import annotations

from trackside.airflow.parts.context import Stats

incr, decr, gauge, timing, timer = Stats.incr, Stats.decr, Stats.gauge, Stats.timing, Stats.timer

__all__ = ["Stats", "decr", "gauge", "incr", "timer", "timing"]
