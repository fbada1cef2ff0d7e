"""Sums over everything that ever happened, and how far they have got in the event stream."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Tally(models.Model):
    """One counter or histogram, of the whole site (`dag_id` empty) or of one DAG. Written by `metrics.rollup` alone."""

    name = models.CharField(max_length=60)
    dag_id = models.CharField(max_length=250, default="")
    label = models.CharField(max_length=256, default="")
    """State, queue, executor or run type; what it is depends on the name."""
    count = models.BigIntegerField(default=0)
    total = models.FloatField(default=0.0)
    """Sum of what was observed, seconds."""
    buckets = ArrayField(models.BigIntegerField(), null=True)
    """How many fell into each of `rollup.BOUNDS` (not cumulative), and beyond the last; null for plain sums."""

    class Meta:
        constraints = (models.UniqueConstraint(fields=("name", "dag_id", "label"), name="tally_once"),)

    def __str__(self) -> str:
        return f"{self.name} {self.dag_id} {self.label}"


class TallyCursor(models.Model):
    """The last event row that the tallies contain; one row."""

    id = models.IntegerField(primary_key=True, default=1)
    xid = models.BigIntegerField(default=0)
    event_id = models.BigIntegerField(default=0)

    class Meta:
        constraints = (models.CheckConstraint(condition=models.Q(id=1), name="one_tally_cursor"),)

    def __str__(self) -> str:
        return f"{self.xid}, {self.event_id}"
