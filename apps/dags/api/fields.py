"""Wire forms that several resources share: DAG versions, tags, time spans."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core import signing

from apps.access.rest.fields import moment, text, whole

FILE_SALT = "trackside.dag-file"

VERSION_FIELDS = (
    text("id"),
    whole("version_number", "number"),
    text("dag_id"),
    text("bundle_name"),
    text("bundle_version", null=True),
    moment("created_at", null=False),
    text("dag_display_name", "dag.dag_display_name"),
    text("bundle_url", lambda v: bundle_url(v.bundle_name, v.bundle_version), null=True),
)
"""A DAG version. Load it with its DAG (`select_related("…__dag")`) and without `spec` and `source`."""


def bundle_url(bundle_name: str, version: str | None) -> str | None:
    """Where a person can look at a version of a bundle; None if its kind has no such page."""
    config = next((c for c in settings.DAG_BUNDLES if c.name == bundle_name), None)
    return config.url(version) if config is not None else None


TAG_FIELDS = (text("name"), text("dag_id"), text("dag_display_name", "dag.dag_display_name"))


def file_token(bundle_name: str, relative_path: str) -> str:
    """Names a file for PUT /parseDagFile, signed so that nobody can name others."""
    return signing.dumps([bundle_name, relative_path], salt=FILE_SALT)


def file_of(token: str) -> tuple[str, str] | None:
    """Inverse of `file_token`; None for a text that is none."""
    try:
        bundle_name, relative_path = signing.loads(token, salt=FILE_SALT)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return str(bundle_name), str(relative_path)


def iso_duration(seconds: float | None) -> str | None:
    """ISO 8601 duration: 7200 → PT2H."""
    if seconds is None:
        return None
    span = timedelta(seconds=seconds)
    minutes, second = divmod(span.seconds, 60)
    hours, minute = divmod(minutes, 60)
    fraction = f"{second + span.microseconds / 1e6:g}"
    clock = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minute, "M")) if n) + (f"{fraction}S" if fraction != "0" else "")
    days = f"{span.days}D" if span.days else ""
    return f"P{days}T{clock}" if clock else f"P{days}" if days else "PT0S"


def time_span(seconds: float | None) -> dict[str, Any] | None:
    """Airflow's wire form of a timedelta."""
    if seconds is None:
        return None
    span = timedelta(seconds=seconds)
    return {"__type": "TimeDelta", "days": span.days, "seconds": span.seconds, "microseconds": span.microseconds}
