"""What a link says a form should begin with: `…/trigger?rows=10&conf={…}`, `…/answer?_options=Approve&amount=3`.

For the dialogs that trigger and answer; operators make such links with `HITLOperator.generate_link_to_ui` (Airflow's rows 1.143 and
1.247). A link fills in and never sends: a person reads the form and presses the button, and what does not fit is refused then.
"""

from __future__ import annotations

import json
from typing import Any

from django.http import QueryDict

OPTIONS = "_options"
"""Of a question: the answers to be ticked, the word repeated for each."""
BESIDE_PARAMS = ("run_id", "logical_date", "note", "conf")
"""Fields of the trigger dialog that are no params. A param of such a name is filled in by `conf`."""


def of_trigger(declared: dict[str, Any], query: QueryDict) -> tuple[dict[str, Any], dict[str, str]]:
    """Values of the params, and texts of the other fields (what `conf` says beside the params stays in its field)."""
    beside = {name: str(query[name]) for name in BESIDE_PARAMS if name in query}
    conf: Any = None
    try:
        conf = json.loads(beside.get("conf", ""))
    except ValueError:
        pass  # stays as it is written: sending it says what is wrong
    if not isinstance(conf, dict):
        conf = {}
    elif rest := {name: value for name, value in conf.items() if name not in declared}:
        beside["conf"] = json.dumps(rest, ensure_ascii=False)
    else:
        del beside["conf"]
    named = {name: value for name, value in of_params(declared, query).items() if name not in BESIDE_PARAMS}
    return {**{name: value for name, value in conf.items() if name in declared}, **named}, beside


def of_params(declared: dict[str, Any], query: QueryDict) -> dict[str, Any]:
    """Values of the params that the query names, as the kind that each is declared to be."""
    return {name: _typed(param, query.getlist(name)) for name, param in declared.items() if name in query and isinstance(param, dict)}


def _typed(param: dict[str, Any], texts: list[str]) -> Any:
    """A text that is no value of its kind stays text, for the form to show."""
    schema = param.get("schema") or {}
    kinds = schema.get("type") or []
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if len(texts) > 1 and "array" in kinds:
        return texts
    if "string" in kinds or (not kinds and isinstance(param.get("value"), str)):
        return texts[-1]
    try:
        return json.loads(texts[-1])
    except ValueError:
        return texts[-1]
