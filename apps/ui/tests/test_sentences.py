"""Sentences that the code keeps in the ledger or refuses with are known to pages: whoever writes a new one learns it here.

The sentences are taken from the code itself (its syntax trees), so that none is forgotten and none that is listed is gone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import Client

from apps.access import lockout, rates
from apps.access.models import User
from apps.runs.models import Event, TaskInstance
from apps.ui import known_sentences, languages, sentences
from apps.ui.tests import factories
from apps.ui.views.run import told as event_told
from trackside.executors.kubernetes.causes import CAUSES

ROOT = Path(settings.ROOT)
REASONS = {"Reason": 1, "_block": 1}
"""Calls, and which argument is the sentence."""
REFUSALS = {"ActionRefused": 0, "NotFound": 0, "Conflict": 0, "Invalid": 0, "NotAdmitted": 0, "NotAsked": 0, "InvalidRunId": 0}
UNSEEN = (
    "apps/runs/stores/", "apps/runs/actions/pools.py", "apps/runs/actions/xcoms.py", "apps/access/team_calls.py", "apps/ui/logindex.py",
)  # fmt: skip
"""Refusals that only REST, the execution API and the administration meet; and another function called `_block`."""
SAMPLES = {"names(waiting)": "a, b and 5 more", "names(ids)": "a, b and 5 more", "state": "failed", "run_state": "queued"}
ELSEWHERE = {
    "apps/runs/transitions/handing.py": ["Waits for a free worker slot."],
    "apps/runs/brain.py": ["Planning this run failed {troubles} times (", "). It is tried again at "],
    "apps/runs/reaper.py": [
        "; the task did not fail by itself.", " It starts again without using a retry.", " stopped answering",
        "That happened {infra_failures + 1} times, so it is not started again; clear it to try once more.",
        ", where its pod ran, no longer answers", "Its runner",
    ],
    "apps/runs/scheduler.py": ["Creating its next run failed: ", "Tried again in a minute."],
    "apps/runs/hooks.py": [
        "Paused because the last ", " runs failed (max_consecutive_failed_dag_runs). Unpause it when the cause is mended.",
    ],
    "apps/runs/transitions/people.py": ["Marked {state}.", "Cleared while it was running."],
    "apps/runs/execution/reports.py": ["The task failed without saying why.", " Retry policy: "],
    "apps/runs/triggerer/firing.py": ["Its trigger ended it as failed."],
    "apps/runs/backfills/slots.py": ["runs lie between these dates. Choose a shorter range."],
    "apps/runs/actions/creation.py": ["already has a run with {what}. Choose another, or clear that run to run it again."],
    "apps/access/outside/providers.py": [" did not sign you in. Try again; the server's log says why."],
}  # fmt: skip
"""Sentences that are no argument of such a call: what the code says, as long as it says it."""
BUILT = [
    "Waits for a free worker slot.", "Planning this run failed 3 times (ValueError: x). It is tried again at 10:00:00 UTC.",
    "Worker w1 stopped answering; the task did not fail by itself. It starts again without using a retry.",
    "Its runner stopped answering (pod p on node n); the task did not fail by itself. That happened 3 times, so it is not started again;"
    " clear it to try once more.",
    "Node n, where its pod ran, no longer answers; the task did not fail by itself. It starts again without using a retry.",
    "Creating its next run failed: ValueError: x. Tried again in a minute.",
    "Paused because the last 3 runs failed (max_consecutive_failed_dag_runs). Unpause it when the cause is mended.",
    "Marked failed.", "Cleared while it was running.", "The task failed without saying why. Retry policy: never",
    "Its trigger ended it as failed.",
    "More than 1,000 runs lie between these dates. Choose a shorter range.",
    "DAG d already has a run with run id r. Choose another, or clear that run to run it again.",
    "DAG d already has a run with logical_date 2026-01-01T00:00:00+00:00. Choose another, or clear that run to run it again.",
    "Google did not sign you in. Try again; the server's log says why.", "load: Waits for extract to finish.",
]  # fmt: skip


def literal(node: ast.AST, function: ast.AST | None) -> list[str]:
    """What an expression may say, with samples for what changes; `<…>` for what cannot be seen here."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=values):
            said = [""]
            for value in values:
                parts = [value.value] if isinstance(value, ast.Constant) else sample(value.value, function)  # type: ignore[attr-defined]
                said = [a + str(b) for a in said for b in parts]
            return said
        case ast.IfExp(body=body, orelse=other):
            return literal(body, function) + literal(other, function)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [a + b for a in literal(left, function) for b in literal(right, function)]
        case ast.Subscript(value=value):
            return literal(value, function)
        case ast.Name(id=name) if function is not None and (found := assigned(name, function)):
            return found
    return [f"<{ast.unparse(node)}>"]


def assigned(name: str, function: ast.AST) -> list[str]:
    values = [n.value for n in ast.walk(function) if isinstance(n, ast.Assign) and any(ast.unparse(t) == name for t in n.targets)]
    return [text for value in values for text in literal(value, None) if not text.startswith("<")]


def sample(node: ast.AST, function: ast.AST | None) -> list[str]:
    text = ast.unparse(node)
    if text in SAMPLES:
        return [SAMPLES[text]]
    return (assigned(text, function) if isinstance(node, ast.Name) and function is not None else []) or ["x1"]


def said_by(calls: dict[str, int], *folders: str) -> Iterator[tuple[str, str]]:
    """(place, sentence) of these calls."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = str(path.relative_to(ROOT))
            if {"tests", "migrations", "api", "rest"} & set(path.parts) or place.startswith(UNSEEN):
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
            for node in ast.walk(tree):
                if not isinstance(node, ast.Call):
                    continue
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
                if name in calls and len(node.args) > calls[name]:
                    around = [f for f in functions if f.lineno <= node.lineno <= (f.end_lineno or 0)]
                    inner = min(around, key=lambda f: (f.end_lineno or 0) - f.lineno, default=None)
                    for text in literal(node.args[calls[name]], inner):
                        yield f"{place}:{node.lineno}", text


def unknown(text: str) -> list[str]:
    """The sentences of a text that pages would show in English."""
    found, left = [], text
    with languages.speaking("de"):
        while left:
            piece, said = sentences._first(left)
            found += [piece] if piece == said else []
            left = left[len(piece) :].removeprefix(" ")
    return found


@pytest.mark.parametrize(("calls", "least"), [(REASONS, 45), (REFUSALS, 55)], ids=["reasons", "refusals"])
def test_every_sentence_of_the_code_is_known(calls: dict[str, int], least: int) -> None:
    said = list(said_by(calls, "apps", "platform/trackside/core", "platform/trackside/executors"))
    whole = [(place, text) for place, text in said if not text.startswith("<")]
    assert len(whole) >= least, "the walk finds them"
    missing = {place: left for place, text in whole if text != "x1 x1" and text != "x1: x1" and (left := unknown(text))}
    assert missing == {}, "add these to known_sentences.py, run tools/translations.py, translate"
    unseen = {text for _, text in said if text.startswith("<") and not text.startswith("<_(")}
    assert unseen <= {"<row.reason>", "<str(error)>", "<str(e)>", "<_taken(dag.dag_id, run_id, logical_date)>", "<_TOO_MANY>", "<None>"}, (
        "say what they may be in ELSEWHERE and BUILT"
    )


def test_sentences_that_are_built_otherwise_are_known_and_still_there() -> None:
    for place, texts in ELSEWHERE.items():
        source = (ROOT / place).read_text(encoding="utf-8")
        assert [text for text in texts if text not in source] == [], place
    assert {text: left for text in BUILT if (left := unknown(text))} == {}


def test_what_is_said_of_pods_is_known() -> None:
    words = {"detail": "is being set up", "limit": " of 2Gi", "code": 1, "container": "init", "node": "n1"}
    said = [f"{c.says} {c.advice}".replace("{", "%(").replace("}", ")s") % words for c in CAUSES.values()]
    assert len(said) > 20 and {text: left for text in said if (left := unknown(text))} == {}


def test_every_known_sentence_matches_itself_and_stands_there_once() -> None:
    assert len(set(known_sentences.SENTENCES)) == len(known_sentences.SENTENCES)
    with languages.speaking("de"):
        for text in known_sentences.SENTENCES:
            example = sentences._PART.sub(lambda m: f"{m[1]}1", text)
            assert sentences._known(example) is not None, text


@pytest.mark.parametrize(
    ("text", "german"),
    [("Waits for a, b and 5 more to finish.", "Wartet, bis a, b und 5 weitere fertig ist."),
     ("Pool etl is full (3 of 8 slots taken). It goes on when a task there ends.",
      "Der Pool etl ist voll (3 von 8 Plätzen belegt). Es geht weiter, wenn dort ein Task endet."),
     ("load: Depends on the past: in run r.1 it is failed. It goes on once that one is success or skipped.",
      "load: Hängt von der Vergangenheit ab: in Lauf r.1 ist der Zustand „fehlgeschlagen“. Es geht weiter, sobald jener erfolgreich oder"
      " übersprungen ist."),
     ("KeyError: 'a'. It is his own. Cleared while it was running.", "KeyError: 'a'. It is his own. Zurückgesetzt, während er lief."),
     ("%(names)s and {braces} 100 % <b>", "%(names)s and {braces} 100 % <b>"),
     ("Pool %(pool)s does not exist. Create it, or change the task's pool.",
      "Den Pool %(pool)s gibt es nicht. Ihn anlegen oder den Pool des Tasks ändern.")],
)  # fmt: skip
def test_texts_are_translated_sentence_by_sentence_and_the_rest_stays(text: str, german: str) -> None:
    assert sentences.told(text) == text and sentences.told(None) == ""
    with languages.speaking("de"):
        assert sentences.told(text) == german
        assert sentences.told("x. " * 5000) == "x. " * 5000


@pytest.mark.django_db
def test_pages_say_reasons_refusals_and_rights_in_the_readers_language(client: Client) -> None:
    run = factories.run(factories.dag(), state="running", states={"load": "scheduled"})
    full = "Pool etl is full (3 of 8 slots taken). It goes on when a task there ends."
    TaskInstance.objects.filter(run=run, task_id="load").update(reason=full, reason_code="pool_full")
    client.cookies["lang"] = "de"
    client.force_login(factories.user())
    german = "Der Pool etl ist voll (3 von 8 Plätzen belegt)."
    for path in ("/dags", f"/dags/orders/runs/{run.run_id}", f"/dags/orders/runs/{run.run_id}/tasks/load", "/tasks",
                 f"/dags/orders/runs/{run.run_id}/panel", "/dags/orders", f"/ui/tip/{run.pk}/load", "/"):  # fmt: skip
        answer = client.get(path)
        text = str(answer.json()) if "json" in answer["Content-Type"] else answer.content.decode()
        assert german in text and "Pool etl is full" not in text, path
    assert "Der DAG orders hat keinen Lauf r7." in client.get("/dags/orders/runs/r7").content.decode()
    assert client.get("/ui/log/00000000-0000-4000-8000-000000000009").json() == {"detail": "Diesen Versuch gibt es nicht."}
    guest = User.objects.create_user("guest")
    guest.groups.add(Group.objects.create(name="Nobody"))
    client.force_login(guest)
    refused = client.get(f"/dags/orders/runs/{run.run_id}/clear")
    assert refused.status_code == 403 and "Nicht erlaubt: Läufe von orders ändern." in refused.content.decode()
    client.cookies["lang"] = "en"
    assert "You may not edit runs of orders." in client.get(f"/dags/orders/runs/{run.run_id}/clear").content.decode()


def test_what_the_door_says_and_lists_of_events_are_translated() -> None:
    with languages.speaking("de"):
        assert rates.sentence(1, "person").startswith("Zu viele Anfragen") and "1 Sekunde " in rates.sentence(1, "person")
        assert lockout.sentence(90).startswith("Zu viele vergebliche Anmeldungen") and "2 Minuten" in lockout.sentence(90)
        tis = [[k, f"t{k}", -1, 1] for k in range(7)]
        event = event_told(Event(kind="task", verb="move", payload={"state": "success", "tis": tis}))
        assert event.more == "t0, t1, t2, t3, t4 und 2 weitere"  # type: ignore[attr-defined]
    assert rates.sentence(2, "token").startswith("Too many requests by this token. Try again in 2 seconds, or ask")
