"""S11, S12, sinks 4 to 6: what a task reads as a secret is in none of its rendered fields, tracebacks and log records."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from try_harness import harness

from trackside.sdk import log
from trackside.sdk.execution import hiding

SECRET = 'canary of/the "task"'
BODY = f"""
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.log import mask_secret

class Op(BaseOperator):
    template_fields = ("sql", "deep", "env")
    def __init__(self, sql, deep, env, **kw):
        super().__init__(**kw)
        self.sql, self.deep, self.env = sql, deep, env
    def execute(self, context):
        raise ValueError("cannot sign in with " + self.sql)

SECRET = {SECRET!r}
mask_secret(SECRET)
nested = SECRET
for _ in range(12):
    nested = {{"x": [nested]}}
with DAG("d", schedule=None):
    Op(task_id="a", sql="password " + SECRET, deep=nested, env={{"DB_PASSWORD": "other-canary", "deep": {{"api_key": ["third-canary"]}}}})
"""


@pytest.fixture(autouse=True)
def no_secrets_yet():
    log.forget_secrets()
    yield
    log.forget_secrets()


def test_rendered_fields_and_the_error_of_a_task_hide_its_secrets(tmp_path):
    run = harness(tmp_path, BODY)
    attempt = run.attempt("a")
    assert attempt.outcome == "failed"
    rendered = json.dumps(run.comms.updates)
    assert "canary" not in rendered and "password ***" in rendered


def test_redaction_looks_through_what_is_deep_and_hides_what_is_deeper():
    log.mask_secret(SECRET)
    for depth in (1, 6, 30, 49, 60, 500):
        value = SECRET
        for _ in range(depth):
            value = [value]
        assert SECRET not in str(log.redact(value)), depth
    assert log.redact({"a": {"password": {"b": ["c"]}}}) == {"a": {"password": {"b": ["***"]}}}


def test_an_xcom_travels_whole_beside_its_form_for_people():
    assert hiding.shown({"a": ["nothing to hide", 1, None]}) is None
    log.mask_secret(SECRET)
    assert hiding.shown({"a": ["nothing to hide", 1, None]}) is None
    coded = base64.b64encode(SECRET.encode()).decode()
    texts = [f"Bearer {SECRET}", quote(SECRET, safe=""), json.dumps([SECRET]), coded]
    masked = hiding.shown({"uri": "http://u:pass-word@h/x", "texts": texts, "n": 5})
    assert (masked["uri"], masked["texts"][:3], masked["n"]) == ("http://u:***@h/x", ["Bearer ***", "***", '["***"]'], 5)
    assert coded.rstrip("=") not in masked["texts"][3]


@pytest.mark.parametrize(
    ("value", "masked", "secrets"),
    [
        ({"a": ["Bearer s3cret-one", 7]}, {"a": ["Bearer ***", 7]}, {"s3cret-one"}),
        ("first-one and second-one", "*** and ***", {"first-one", "second-one"}),
        ("w1-long w2-long w3-long w4-long", "*** *** *** ***", {"w1-long w2-long w3-long w4-long"}),
        ({"a": {"b": ["hidden-as-a-whole"]}}, "***", {"hidden-as-a-whole"}),
        (["hidden-one", "hidden-two"], ["***"], {"hidden-one", "hidden-two"}),
        ({"a": "same", "b": 1}, {"a": "same", "b": 1}, set()),
    ],
)
def test_who_reads_an_xcom_with_secrets_hides_them_too(value, masked, secrets):
    hiding.learn(value, masked)
    assert log._secrets == secrets
    assert all(secret not in log.hide_in(f"it says {secret}") for secret in secrets)
