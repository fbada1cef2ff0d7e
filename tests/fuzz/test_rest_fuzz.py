"""Every operation of the REST API, called with generated parameters and bodies as every role (schemathesis makes the calls).

No answer is a 5xx, has a status that is not described, or a body that does not fit its description. In `make test` this takes as long as
TRACKSIDE_FUZZ_SECONDS says (3 minutes at most by default), in the nightly form (`make fuzz`) 20 minutes. A failure prints the call.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any
from urllib.parse import quote, urlencode

import jsonschema
import pytest
import schemathesis
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import booleans, sampled_from

from apps.access import tokens
from apps.access.models import Variable
from apps.access.rest.docs import described
from apps.access.tests.resthelp import person
from apps.runs.models import Pool, XCom
from apps.runs.tests.restworld import make_dag, make_run

SECONDS = float(os.environ.get("TRACKSIDE_FUZZ_SECONDS", "180"))
SEED = int(os.environ.get("TRACKSIDE_FUZZ_SEED", "0")) or (random.SystemRandom().randrange(2**31) if SECONDS > 200 else 7)
ROLES = (None, "Viewer", "User", "Op", "Admin")
TURNS = 30 if SECONDS <= 200 else 1_000_000
"""The short form makes the same calls on every machine, however fast it is."""
PER_TURN = 3
"""Calls of one operation before the next one has its turn."""
KNOWN = {
    "dag_id": "d", "dag_run_id": "r", "run_id": "r", "task_id": "first", "map_index": -1, "try_number": 1, "task_try_number": 1,
    "xcom_key": "k", "pool_name": "p", "variable_key": "v", "version_number": 1, "key": "k",
}  # fmt: skip
"""Names that exist in the fuzzed world; half of the calls use them, so that more than 404 is reached."""
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(SECONDS + 240)]


@pytest.fixture
def world() -> None:
    run = make_run(make_dag("d"), "r")
    make_run(run.dag, "open", day=1, state="running")
    XCom.objects.create(run=run, dag_id="d", task_id="first", key="k", value="1")
    Pool.objects.create(name="p", slots=3)
    Variable.objects.create(key="v", value="1")


class Fuzzer:
    """Sends calls and judges answers."""

    def __init__(self) -> None:
        import apps.ui.api.urls  # noqa: F401  (registers the operations)

        self.doc = described()
        self.client = Client(raise_request_exception=False)
        self.tokens = {role: tokens.issue(person(role)) for role in ROLES}
        self.random = random.Random(SEED)
        self.calls = 0
        self.statuses: dict[int, int] = {}

    def send(self, method: str, template: str, case: Any, role: str | None, *, known: bool) -> None:
        """One call, undone afterwards."""
        values = {n: (KNOWN.get(n, v) if known else v) for n, v in (case.path_parameters or {}).items()}
        path = template
        for name, value in values.items():
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        query = {k: v for k, v in (case.query or {}).items() if v is not None}
        headers = {"Authorization": f"Bearer {self.tokens[role]}"}
        body: dict[str, Any] = {}
        if isinstance(case.body, dict | list | str | int | float) or case.body is None:
            body = {"data": case.body, "content_type": "application/json"} if method in ("POST", "PUT", "PATCH") else {}
        with transaction.atomic():
            response = getattr(self.client, method.lower())(f"{path}?{urlencode(query, doseq=True)}", headers=headers, **body)
            self.judge(f"{method} {path}?{urlencode(query, doseq=True)} as {role} with {case.body!r}", method, template, response)
            transaction.set_rollback(True)
        self.calls += 1

    def judge(self, call: str, method: str, template: str, response: Any) -> None:
        """The three promises."""
        status = response.status_code
        self.statuses[status] = self.statuses.get(status, 0) + 1
        told = response.content.decode(errors="replace")[:500] if not response.streaming else "(stream)"
        assert status < 500, f"{call}: {status} {told}"
        described_answers = self.doc["paths"][template][method.lower()]["responses"]
        if status == 405 or (status == 404 and "error" in told):
            return  # a generated path that belongs to no operation
        assert str(status) in described_answers, f"{call}: {status} is not described: {told}"
        if response.streaming or not response.content:
            return
        content = described_answers[str(status)].get("content", {})
        media = response.headers.get("Content-Type", "").partition(";")[0]
        assert media in content, f"{call}: {media} is not described for {status}: {told}"
        if media == "application/json":
            schema = {**content[media]["schema"], "components": self.doc["components"]}
            errors = [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(response.json())]
            assert not errors, f"{call}: {status} does not fit: {errors[0][:500]}"


def test_no_call_breaks_the_promises_of_the_description(world):
    fuzzer = Fuzzer()
    schema = schemathesis.openapi.from_dict(fuzzer.doc)
    operations = [result.ok() for result in schema.get_all_operations()]
    fuzzer.random.shuffle(operations)
    end, turn = time.monotonic() + SECONDS, 0
    while time.monotonic() < end and turn < TURNS:
        for operation in operations:
            if time.monotonic() >= end:
                break
            _turn(fuzzer, operation, turn)
        turn += 1
    print(f"seed {SEED}: {fuzzer.calls} calls of {len(operations)} operations, {turn} turns, {fuzzer.statuses}")
    assert fuzzer.calls >= len(operations) / 2, "too slow to mean anything"


def _turn(fuzzer: Fuzzer, operation: Any, turn: int) -> None:
    method, template = operation.method.upper(), operation.path

    @seed(SEED + turn)
    @settings(
        max_examples=PER_TURN, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )  # fmt: skip
    @given(case=operation.as_strategy(), role=sampled_from(ROLES), known=booleans())
    def calls(case: Any, role: str | None, known: bool) -> None:
        fuzzer.send(method, template, case, role, known=known)

    calls()
