"""The trigger form: fields made from a DAG's params (JSON schema), and the way back to a conf.

A field covers what a form can say (text, number, switch, choice, date, list of choices); everything else is edited as JSON in
place. Validation is the server's, by `creation.trigger`; here only what cannot be converted is refused, at its field.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.http import QueryDict

from apps.runs.errors import Invalid
from apps.ui.inline import markdown

PREFIX = "param."


@dataclass(slots=True)
class ParamField:
    """One field of the form, as the template needs it."""

    name: str
    label: str
    widget: str
    """text, textarea, number, checkbox, select, multi, date, datetime, time, json."""
    value: Any
    required: bool
    hint: str
    choices: list[tuple[str, str]] = field(default_factory=list)
    integer: bool = False
    nullable: bool = False
    minimum: Any = None
    maximum: Any = None
    maxlength: Any = None
    error: str = ""
    minlength: Any = None
    pattern: str = ""
    proposals: list[str] = field(default_factory=list)
    """Values to choose from where others are allowed, too."""
    kinds: list[str] = field(default_factory=list)
    """Types of the schema; with several, what is entered becomes the first that fits."""
    section: str = ""
    new_section: bool = False
    """The first of its section: a heading goes before it."""

    @property
    def options(self) -> list[tuple[str, str, bool]]:
        """Value, words and whether it is chosen, of a list of choices."""
        chosen = [json.dumps(v) for v in self.value] if isinstance(self.value, list) else [self.value]
        return [(value, words, value in chosen) for value, words in self.choices]

    @property
    def key(self) -> str:
        """Name of the form field."""
        return PREFIX + self.name

    @property
    def shown(self) -> Any:
        """The value as the control holds it."""
        if self.widget == "json":
            return self.value if isinstance(self.value, str) and self.error else json.dumps(self.value, indent=2, ensure_ascii=False)
        if self.widget == "textarea" and isinstance(self.value, list):
            return "\n".join(str(v) for v in self.value)
        if self.widget == "datetime" and isinstance(self.value, str):
            return _clock(self.value)
        if isinstance(self.value, bool | dict | list) and self.widget in ("text", "number"):
            return json.dumps(self.value, ensure_ascii=False)
        return "" if self.value is None else self.value


def fields(params: dict[str, Any], given: dict[str, Any] | None = None) -> list[ParamField]:
    """One field per param that is not constant, in declared order. `given` overrides defaults (a conf to run again)."""
    given = given or {}
    found = [_field(name, p, given) for name, p in params.items() if isinstance(p, dict) and "const" not in (p.get("schema") or {})]
    sections: dict[str, list[ParamField]] = {}
    for f in found:
        sections.setdefault(f.section, []).append(f)
    for name, members in sections.items():
        members[0].new_section = bool(name)
    return [f for members in sections.values() for f in members]


def _clock(text: str) -> str:
    """A moment as the control for dates and times takes it, in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    return moment.replace(tzinfo=None, microsecond=0).isoformat()


def _field(name: str, param: dict[str, Any], given: dict[str, Any]) -> ParamField:
    schema = param.get("schema") or {}
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else list(kinds or [])
    value = given.get(name, param.get("value"))
    enum = schema.get("enum")
    examples = schema.get("examples")
    widget = _widget(kinds, schema, value)
    words = schema.get("values_display") or {}
    choices = [(json.dumps(v), _words(words, v)) for v in enum or (examples if widget == "multi" and examples else [])]
    if widget == "select":
        value = json.dumps(value)
    return ParamField(
        name=name,
        label=schema.get("title") or name,
        widget=widget,
        value=value,
        required="null" not in kinds and bool(kinds) and widget not in ("checkbox", "multi"),
        hint=param.get("description") or schema.get("description") or markdown(str(schema.get("description_md") or "")),
        choices=choices,
        integer="integer" in kinds,
        nullable="null" in kinds,
        minimum=schema.get("minimum"),
        maximum=schema.get("maximum"),
        maxlength=schema.get("maxLength"),
        minlength=schema.get("minLength"),
        pattern=str(schema.get("pattern") or ""),
        proposals=[str(e) for e in examples or ()] if widget == "text" else [],
        kinds=[k for k in kinds if k != "null"],
        section=schema.get("section") or "",
    )


def _words(words: dict[str, Any], value: Any) -> str:
    """`values_display` has JSON's keys: "1", "null", "true"."""
    for key in (str(value), json.dumps(value)):
        if key in words:
            return str(words[key])
    return "–" if value is None else str(value)


def _widget(kinds: list[str], schema: dict[str, Any], value: Any) -> str:
    shape = schema.get("format")
    if schema.get("enum"):
        return "select"
    if len([k for k in kinds if k != "null"]) > 1:
        return "text"  # what is entered decides
    if "boolean" in kinds or (not kinds and isinstance(value, bool)):
        return "checkbox"
    if "integer" in kinds or "number" in kinds or (not kinds and isinstance(value, int | float)):
        return "number"
    if "array" in kinds:
        items = schema.get("items") or {}
        if schema.get("examples") and items.get("type", "string") == "string":
            return "multi"
        return "textarea" if not items or items.get("type") == "string" else "json"
    if not kinds and isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return "textarea"
    if "object" in kinds or (not kinds and isinstance(value, dict | list)):
        return "json"
    if shape in ("date", "time"):
        return str(shape)
    if shape == "date-time":
        return "datetime"
    return "textarea" if shape == "multiline" else "text"


def read(form: list[ParamField], data: QueryDict) -> dict[str, Any]:
    """The conf that the form says. What cannot be converted is noted at its field and raises Invalid."""
    conf: dict[str, Any] = {}
    for f in form:
        try:
            value = conf[f.name] = _value(f, data)
            f.value = json.dumps(value) if f.widget == "select" else value  # what was entered stays when something else is refused
        except ValueError as e:
            f.error = str(e)
            f.value = data.get(f.key, "")
    if any(f.error for f in form):
        raise Invalid("Some fields cannot be used as they are.")
    return conf


def _value(f: ParamField, data: QueryDict) -> Any:
    text = data.get(f.key, "").strip()
    if f.widget == "checkbox":
        return data.get(f.key) == "on"
    if f.widget == "multi":
        return [json.loads(v) for v in data.getlist(f.key)]
    if f.widget == "textarea" and (isinstance(f.value, list) or "array" in f.kinds):
        if not text and f.nullable:
            return None
        return [line.strip() for line in text.splitlines() if line.strip()]
    if text == "":
        if f.required and f.widget != "text":
            raise ValueError("Enter a value.")
        return None if f.nullable or f.widget != "text" else ""
    return _converted(f, text)


def _converted(f: ParamField, text: str) -> Any:
    if len(f.kinds) > 1:
        return _of_kinds(f, text)
    if f.widget == "number":
        try:
            return int(text) if f.integer else json.loads(text)
        except ValueError:
            raise ValueError(f"{text} is not a {'whole ' if f.integer else ''}number.") from None
    if f.widget in ("json", "select"):
        try:
            return json.loads(text)
        except ValueError as e:
            raise ValueError(f"Not JSON: {e}.") from None
    if f.widget == "datetime":
        return f"{text}:00+00:00" if len(text) == 16 else f"{text}+00:00" if len(text) == 19 else text
    return text


_JSON_KINDS: dict[str, type | tuple[type, ...]] = {"integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list}


def _of_kinds(f: ParamField, text: str) -> Any:
    """A field of several types: JSON of one of them counts as that, anything else is text, if text is allowed."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    for kind in f.kinds:
        if kind != "string" and isinstance(value, _JSON_KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool)):
            return value
    if "string" in f.kinds:
        return text
    raise ValueError(f"{text} is neither {' nor '.join(f.kinds)}.")


def parse_conf(text: str) -> dict[str, Any]:
    """The JSON of the Advanced section; raises Invalid with field "conf"."""
    try:
        conf = json.loads(text)
    except ValueError as e:
        raise Invalid(f"The config is not JSON: {e}.", field="conf") from None
    if not isinstance(conf, dict):
        raise Invalid("The config must be a JSON object: {…}.", field="conf")
    return conf
