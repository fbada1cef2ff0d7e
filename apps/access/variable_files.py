"""Variables as a file: JSON out of the administration's list and into it again, in the form that Airflow and `trackside variables` write.

`{"key": value}` or `{"key": {"value": …, "description": …, "team_name": …}}`. Secrets go out as `***` and come in again as what is
stored: a mask is never stored. All of a file is brought in, or nothing. Used by `admin.py`; the command line has `trackside.cli.remote`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.db import transaction

from apps.access import actions
from apps.access.audit import Actor
from apps.access.errors import Refused
from apps.access.masking import MASK, mask_text
from apps.access.models import Variable

FAIL, SKIP, OVERWRITE = "fail", "skip", "overwrite"
_ROW = {"key", "value", "description", "team_name", "is_encrypted"}
MOST = 10_000
"""Variables in one file."""
LONGEST = 250
"""Characters of a key."""


class ImportForm(forms.Form):
    """A file, and what happens to keys that exist."""

    file = forms.FileField(label="File", help_text="JSON: an object with a key for each variable, such as an export of this list.")
    existing = forms.ChoiceField(
        label="Keys that exist already",
        choices=[(FAIL, "refuse the file"), (SKIP, "leave them as they are"), (OVERWRITE, "overwrite them")],
    )


@dataclass(slots=True)
class Done:
    """What an import did."""

    made: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """They exist, and were to be left."""
    masked: list[str] = field(default_factory=list)
    """The file has no value for them, only a mask; what is stored stays."""

    def __str__(self) -> str:
        parts = [(len(self.made), "made"), (len(self.changed), "changed"), (len(self.left), "left as they were")]
        said = ", ".join(f"{n} {what}" for n, what in parts if n) or "nothing to do"
        kept = f" Kept, because the file has {MASK} for them: {', '.join(self.masked[:20])}." if self.masked else ""
        return f"{said}.{kept}"


def export(variables: Iterable[Variable]) -> str:
    """JSON of these, secrets masked."""
    rows = {
        v.key: {"value": mask_text(v.value, v.key), **{n: getattr(v, n) for n in ("description", "team_name") if getattr(v, n)}}
        for v in variables
    }
    return json.dumps(rows, indent=2, ensure_ascii=False)


def read(data: bytes) -> dict[str, dict[str, Any]]:
    """Key → what the file says of it. Raises Refused, naming the place."""
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as e:
        raise Refused("The file is no text in UTF-8. Save it as UTF-8, and choose it again.", field="file") from e
    except (ValueError, RecursionError) as e:
        raise Refused(f"The file is no JSON: {e}. Mend it there, and choose it again.", field="file") from e
    if not isinstance(found, dict):
        raise Refused(f'The file must be an object, {{"key": value}}, not a {type(found).__name__}.', field="file")
    if len(found) > MOST:
        raise Refused(f"The file has {len(found)} variables; {MOST} are the most at once. Split it.", field="file")
    rows = {}
    for key, value in found.items():
        if not key.strip() or len(key) > LONGEST:
            raise Refused(f"{key[:40]!r}: the key of a variable has 1 to {LONGEST} characters, this one {len(key)}.", field="file")
        row = value if isinstance(value, dict) and "value" in value and set(value) <= _ROW else {"value": value}
        for name in ("description", "team_name"):
            if row.get(name) is not None and not isinstance(row[name], str):
                raise Refused(f"{key}: {name} must be text, not {type(row[name]).__name__}.", field="file")
        if len(row.get("team_name") or "") > 50:
            raise Refused(f"{key}: team_name has at most 50 characters.", field="file")
        rows[key] = {"value": row["value"], **{n: row[n] for n in ("description", "team_name") if row.get(n) is not None}}
    return rows


def bring_in(rows: dict[str, dict[str, Any]], existing: str, *, actor: Actor, teams: Collection[str] | None = None) -> Done:
    """Store what a file says, all or nothing. `teams`: the only ones whose variables the person may write; None: any.

    Raises Refused, naming the keys.
    """
    done = Done()
    with transaction.atomic():
        known = dict(Variable.objects.select_for_update().filter(key__in=list(rows)).values_list("key", "team_name"))
        if known and existing == FAIL:
            raise Refused(f"These keys exist already: {', '.join(sorted(known)[:20])}. Choose what shall happen to them.", field="existing")
        for key, row in rows.items():
            for team in {row.get("team_name"), known.get(key, row.get("team_name"))} if teams is not None else ():
                if team not in teams:  # type: ignore[operator]
                    mine = ", ".join(sorted(teams or ()))
                    raise Refused(f"{key}: you may write variables of {mine} only: team_name must say so.", field="file")
            _one(key, row, key in known, existing, actor, done)
    return done


def _one(key: str, row: dict[str, Any], is_there: bool, existing: str, actor: Actor, done: Done) -> None:
    if is_there and existing == SKIP:
        done.left.append(key)
    elif MASK in actions.stored_value(row["value"]) and not is_there:
        raise Refused(f"{key}: the file has no value for it, only {MASK}. Write the value into it, or take the key out.", field="file")
    elif is_there:
        (done.masked if row["value"] == MASK else done.changed).append(key)
        actions.update_variable(key, row, actor=actor)
    else:
        actions.create_variable(key, row, actor=actor)
        done.made.append(key)
