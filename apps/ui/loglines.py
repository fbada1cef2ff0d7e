"""One record of a try's log as the lines that people read: its text, below it the exception, foldable groups.

The log viewer does the same in `frontend/src/log/expand.ts`; both are held to `apps/ui/tests/log_cases.json`. A record
has one number, its place in the file; what hangs below its first line has none.
"""

from __future__ import annotations

import re
from typing import Any

Piece = tuple[str, str]
"""Text and kind: "" first line, "+" more of the text, "err" exception in short, "fold" head of what follows folded,
"tb" a line in it, "group" head of a group, "end" its end (not shown)."""

_FRAME = re.compile(r'  File "([^"]*)", line \d+')
_MACHINERY = re.compile(r"site-packages|/lib/python|^<frozen|^<template|/trackside/(sdk|runner|core|airflow)/")
"""Frames of ours and of installed packages: in the whole traceback only."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
FRAMES = 8
MESSAGE_LINES = 12
SAME = {"critical": "error", "fatal": "error", "exception": "error", "warn": "warning", "trace": "debug", "notset": "debug"}
LEVELS = ("debug", "info", "warning", "error")


def level_of(event: dict[str, Any]) -> str:
    """One of the four levels that pages know."""
    raw = str(event.get("level", "info")).lower()
    raw = SAME.get(raw, raw)
    return raw if raw in LEVELS else "info"


def plain(text: str) -> str:
    """The text without terminal sequences; the live viewer turns their colours into classes."""
    return _ESCAPES.sub("", text) if "\x1b" in text else text


def expand(event: dict[str, Any]) -> list[Piece]:
    """The lines of one record."""
    text = str(event.get("event", ""))
    if text.startswith("::group::"):
        return [(text[9:].strip() or "Group", "group")]
    if text.startswith("::endgroup::"):
        return [("", "end")]
    pieces = [(line, "+" if k else "") for k, line in enumerate(text.split("\n"))]
    detail = event.get("error_detail")
    if isinstance(detail, str):
        return pieces + [(line, "err") for line in detail.rstrip("\n").split("\n")]
    chain = _chain(event)
    if not chain:
        return pieces
    short, everything = _short(chain)
    pieces += [(line, "err") for line in short]
    if not everything:
        below = _whole(chain)
        pieces += [(f"Whole traceback, {len(below)} lines", "fold"), *((line, "tb") for line in below)]
    return pieces


def whole(event: dict[str, Any]) -> list[str]:
    """The traceback of a record as Python prints it; empty when it has none."""
    chain = _chain(event)
    return _whole(chain) if chain else []


def _chain(event: dict[str, Any]) -> list[dict[str, Any]]:
    detail = event.get("error_detail")
    return [part for part in detail if isinstance(part, dict)] if isinstance(detail, list) else []


def _short(chain: list[dict[str, Any]]) -> tuple[list[str], bool]:
    """Type, message and the user's frames of each exception, outermost first; whether nothing was left out."""
    lines, everything = [], len(chain) == 1
    for k, part in enumerate(chain):
        before = "" if not k else "caused by " if part.get("is_cause") else "while handling "
        message = f"{part.get('exc_type', 'Exception')}: {part.get('exc_value', '')}".rstrip(": \n").split("\n")
        notes = [line for note in part.get("exc_notes") or () for line in str(note).split("\n")]
        everything = everything and len(message) <= MESSAGE_LINES
        lines += [before + message[0], *(f"  {line}" for line in (message[1:] + notes)[: MESSAGE_LINES - 1])]
        frames = _frames(str(part.get("text", "")))
        mine = [lines_of for name, lines_of in frames if not _MACHINERY.search(name)] or [f for _, f in frames[-1:]]
        everything = everything and len(mine) == len(frames) and len(mine) <= FRAMES
        if len(mine) > FRAMES:
            lines.append(f"  … {len(mine) - FRAMES} frames")
        lines += [line for frame in mine[-FRAMES:] for line in frame]
    return lines, everything


def _frames(text: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    inside = False
    for line in text.split("\n"):
        if match := _FRAME.match(line):
            found.append((match[1], [line]))
            inside = True
        elif inside and line.startswith("    "):
            found[-1][1].append(line)
        else:
            inside = False
    return found


def _whole(chain: list[dict[str, Any]]) -> list[str]:
    """As Python prints it: causes first."""
    lines: list[str] = []
    for k in range(len(chain) - 1, -1, -1):
        lines += str(chain[k].get("text", "")).rstrip("\n").split("\n")
        if k:
            how = "The above exception was the direct cause of the following exception:"
            lines += ["", how if chain[k].get("is_cause") else "During handling of the above exception, another exception occurred:", ""]
    return lines
