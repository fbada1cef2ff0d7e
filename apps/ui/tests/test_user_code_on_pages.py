"""A run's page tells its deadlines and what became of its callbacks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from apps.runs.models import Deadline, Errand
from apps.runs.tests import support
from apps.ui.tests.test_pages import mara  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db


def test_a_run_page_has_a_line_per_deadline_and_its_callbacks(mara: Client) -> None:  # noqa: F811
    of = support.run(support.dag([support.task("a")]))
    common = {"run": of, "reference": "FixedDatetimeDeadline", "interval": 1.0, "callback": {}}
    Deadline.objects.create(alert=0, name="early", deadline_time=now() - timedelta(minutes=1), missed=True, **common)
    Deadline.objects.create(alert=1, name="far", deadline_time=now() + timedelta(hours=1), **common)
    Errand.objects.create(kind="dag_callback", title="on_failure_callback", run=of, status="failed", error="no <way>", output="said")
    page = mara.get(reverse("run", args=[of.dag_id, of.run_id])).content.decode()
    assert page.count('data-deadline="missed"') == 1 and page.count('data-deadline="pending"') == 1
    assert "Deadline missed</b> early" in page and 'data-callback="failed"' in page
    assert "no &lt;way&gt;" in page and "said" in page
