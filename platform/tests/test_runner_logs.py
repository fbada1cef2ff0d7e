"""Logs: nothing that reached a pipe is lost, secrets never leave the worker, a slow server slows the task only."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_support import FakeServer, Play

from trackside.core.masking import Masker
from trackside.runner import logs
from trackside.runner.logs import TryLog


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Runs a test's body with a server and a worker."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return Play(tmp_path / "dag.py")


def _text(lines: list[dict[str, Any]], src: str) -> list[str]:
    return [line["event"] for line in lines if line["src"] == src]


def test_stdout_stderr_subprocesses_and_logging_all_arrive(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, "talk")
        report = await server.report_of(try_id)
        lines = await server.log_of(try_id)
        assert _text(lines, "stdout") == ["printed", "from a shell", "no newline at the end"]
        assert _text(lines, "stderr") == ["to stderr"]
        record = next(line for line in lines if line["src"] == "log")
        assert (record["event"], record["level"], record["logger"]) == ("logged 1", "warning", "mine")
        assert lines[0]["src"] == "system"
        assert "worker w1" in lines[0]["event"]
        assert report["log_size"] == len(server.logs[try_id])

    play(
        body,
        "import logging, subprocess, sys\n"
        "def task_talk(order, comms):\n"
        "    print('printed')\n"
        "    print('to stderr', file=sys.stderr)\n"
        "    logging.getLogger('mine').warning('logged %d', 1)\n"
        "    subprocess.run(['sh', '-c', 'echo from a shell'])\n"
        "    print('no newline at the end', end='')\n",
    )


def test_everything_that_reached_the_pipe_survives_kill_9(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, "die")
        report = await server.report_of(try_id)
        assert report["signal"] == 9
        lines = await server.log_of(try_id)
        assert _text(lines, "stdout") == [f"line {n}" for n in range(5000)]
        assert _text(lines, "log") == ["the last record"]

    play(
        body,
        "import logging, os, signal\n"
        "def task_die(order, comms):\n"
        "    os.write(1, b''.join(b'line %d\\n' % n for n in range(5000)))\n"
        "    logging.getLogger('mine').info('the last record')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n",
    )


SECRET = 'p@ss w"rd/ü+12345'


def test_secrets_are_hidden_in_every_form_and_over_chunk_borders(play: Play) -> None:
    forms = {
        "plain": SECRET,
        "url": quote(SECRET, safe=""),
        "json": json.dumps(SECRET),
        "base64": base64.b64encode(b"user:" + SECRET.encode() + b"@host").decode(),
        "repr": repr(SECRET),
    }

    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, "leak")
        await server.report_of(try_id)
        lines = await server.log_of(try_id)
        raw = server.logs[try_id].decode()
        for form in (SECRET, quote(SECRET, safe=""), json.dumps(SECRET)[1:-1], "p@ss w", "12345"):
            assert form not in raw
        core = base64.b64encode(b"\0\0" + SECRET.encode()).decode()[3:20]
        assert core not in raw
        printed = _text(lines, "stdout")
        assert printed[0] == "plain ***"
        assert printed[-1] == "in pieces ***!"
        assert "postgres://me:***@db/x" in printed
        assert _text(lines, "log") == ["logged ***"]

    play(
        body,
        "import logging, os, sys, time\n"
        f"SECRET = {SECRET!r}\n"
        "def task_leak(order, comms):\n"
        "    comms.mask(SECRET)\n"
        f"    for name, text in {forms!r}.items():\n"
        "        print(name, text)\n"
        "    print('postgres://me:otherpassword@db/x')\n"
        "    logging.getLogger('mine').info('logged %s', SECRET)\n"
        "    for byte in ('in pieces ' + SECRET + '!').encode():\n"
        "        os.write(1, bytes([byte]))\n"
        "        os.sched_yield()\n",
    )


def test_a_task_waits_while_its_log_cannot_be_sent_and_loses_nothing(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_UNSENT", 256 * 1024)

    async def body(server: FakeServer, agent: Any) -> None:
        server.logs_closed = True
        try_id = server.order(play.file, "chatty")
        await server.until(lambda: agent.tries and agent.shipper.is_full(agent.tries[try_id].log), "a full buffer")
        await server.until(lambda: agent.tries[try_id]._paused, "a pause")
        assert agent.shipper.unsent() < 3 * 1024 * 1024
        assert try_id not in server.reports
        server.logs_closed = False
        assert (await server.report_of(try_id))["outcome"] == "success"
        lines = await server.log_of(try_id)
        assert _text(lines, "stdout") == [f"{n:06} " + "x" * 92 for n in range(40_000)]

    play(
        body,
        "def task_chatty(order, comms):\n    for n in range(40_000):\n        print(f'{n:06} ' + 'x' * 92)\n",
    )


def test_a_line_without_an_end_is_cut_into_several(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, "endless")
        await server.report_of(try_id)
        lines = await server.log_of(try_id)
        assert "".join(_text(lines, "stdout")) == "y" * 3_000_000
        assert max(len(event) for event in _text(lines, "stdout")) <= logs.MAX_LINE

    play(body, "import os\ndef task_endless(order, comms):\n    print('y' * 3_000_000, end='')\n")


# Without a worker


@given(
    secret=st.text(st.characters(codec="utf-8", exclude_characters="*\r\n"), min_size=6, max_size=30),
    before=st.text(max_size=5),
    pieces=st.integers(1, 7),
)
def test_however_output_is_cut_the_secret_is_not_in_the_log(secret: str, before: str, pieces: int) -> None:
    if len(secret.strip()) < 5 or secret.strip() in json.dumps(_TEMPLATE):
        return
    log = TryLog("t", "t.token-of-the-try", lambda one: None)
    log.masker.add(secret)
    data = f"{before}{secret}\n".encode()
    for start in range(0, len(data), pieces):
        log.output("stdout", data[start : start + pieces])
    events = [json.loads(line)["event"] for line in log.unsent.splitlines()]
    assert not any(secret.strip() in event for event in events)


_TEMPLATE = {"t": "0123456789:-TZ.", "level": "info", "logger": "task.stdout", "event": "***", "src": "stdout"}


def test_a_secret_across_the_cut_of_an_endless_line_is_hidden() -> None:
    log = TryLog("t", "t.token-of-the-try", lambda one: None)
    log.masker.add("very-secret-value")
    for cut in range(-20, 5):
        log.output("stdout", b"z" * (logs.MAX_LINE + cut) + b"very-secret-")
        log.output("stdout", b"value\n")
    log.end()
    events = "".join(json.loads(line)["event"] for line in log.unsent.splitlines())
    assert "secret" not in events
    assert events.count("***") == 25


def test_base64_is_recognised_at_every_alignment() -> None:
    masker = Masker()
    masker.add("correct horse battery")
    for before in ("", "a", "ab", "abc"):
        encoded = base64.b64encode(f"{before}correct horse battery:tail".encode()).decode()
        hidden = masker.hide(encoded)
        assert "***" in hidden
        assert len(hidden) < len(encoded) - 20


def test_each_line_of_a_key_is_a_secret() -> None:
    masker = Masker()
    masker.add("-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----")
    assert masker.hide("got kqhkiG9w0BAQEF here") == "got *** here"


def test_short_secrets_do_not_blank_out_ordinary_words() -> None:
    masker = Masker()
    masker.add("abc")
    masker.add("")
    assert masker.hide("abc of masking") == "abc of masking"


def test_field_names_of_a_record_stay_when_they_look_like_a_secret() -> None:
    log = TryLog("t", "t.token-of-the-try", lambda one: None)
    log.masker.add("event")
    log.record(b'{"event":"an event","level":"info"}')
    assert json.loads(log.unsent) == {"event": "an ***", "level": "info"}


def test_chunks_resume_where_the_server_says() -> None:
    log = TryLog("t", "t.x", lambda one: None)
    log.system("one")
    log.system("two")
    first = log.chunk()
    assert first["offset"] == 0
    half = len(first["text"].splitlines(keepends=True)[0].encode())
    log.accepted(half, end=False)
    second = log.chunk()
    assert second["offset"] == half
    assert json.loads(second["text"])["event"] == "two"
    log.end()
    assert log.chunk()["end"] is True
    log.accepted(log.size, end=True)
    assert log.end_accepted


def test_a_secret_of_a_nested_extra_is_recognised_in_the_uri_of_its_connection() -> None:
    """There it is JSON first and URL-encoded then: a backslash or a quote is more than the secret's own URL-encoding."""
    for secret in ("with\\backslash", 'with"quote', "wíth letters"):
        masker = Masker()
        masker.add(secret)
        uri = "http://h/?" + urlencode({"__extra__": json.dumps({"deep": [{"api_key": secret}]})})
        hidden = parse_qs(urlsplit(masker.hide(uri)).query)["__extra__"][0]
        assert json.loads(hidden) == {"deep": [{"api_key": "***"}]}
