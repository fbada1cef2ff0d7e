"""The form for a connection: fields of its type, secrets that go in and never come back.

Password and `extra` are not fields of the model form: nothing of them can be rendered, not even what was just typed
when another field is wrong. An empty field keeps what is stored, a box clears it. Used by `admin.py`.
"""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString

from apps.access.connection_types import ConnectionType, ExtraField
from apps.access.crypto import WrongKey
from apps.access.models import Connection
from apps.access.provider_types import type_of, types

PREFIX = "extra__"
_UNREADABLE = "none of TRACKSIDE_FERNET_KEYS can read it: enter it again or put the old key back."
_PLAIN = ("host", "port", "schema", "login")


class Unrendered(forms.Textarea):
    """A text area that never shows a value: neither the stored one nor one that was sent back with an error."""

    def format_value(self, value: Any) -> str:
        """Always empty."""
        return ""


class UnrenderedInput(forms.TextInput):
    """The same for one line that is no password (nothing hides while typing)."""

    def format_value(self, value: Any) -> str:
        """Always empty."""
        return ""


class UnrenderedSelect(forms.Select):
    """The same for a choice: it stands on "keep"."""

    def format_value(self, value: Any) -> list[str]:
        """Always the empty choice."""
        return [""]


class TypeInput(forms.TextInput):
    """A text field with the known types as suggestions; any other type may be typed."""

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        """The input and its datalist."""
        options = format_html_join("", '<option value="{}">{}</option>', ((t.id, t.name) for t in types()))
        field = super().render(name, value, {**(attrs or {}), "list": "connection-types", "data-connection-type": ""}, renderer)
        return format_html('{}<datalist id="connection-types">{}</datalist>', field, options)


class JsonText(forms.CharField):
    """A value typed as JSON, kept as text until it goes into `extra`."""

    def validate(self, value: Any) -> None:
        """Refuse what is no JSON, without quoting it."""
        super().validate(value)
        try:
            json.loads(value or "null")
        except (ValueError, RecursionError):
            raise forms.ValidationError("This is not JSON; write a list as [1, 2] and an object as {\"key\": 1}.") from None


def _secret_input() -> forms.PasswordInput:
    return forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password", "class": "vTextField"})


class ConnectionForm(forms.ModelForm):
    """Fields of the model that may be shown, plus write-only ones. `typed_form` adds those of the type."""

    kind: ConnectionType = type_of(None)
    conn_type = forms.CharField(label="Type", max_length=500, widget=TypeInput(attrs={"class": "vTextField"}))
    new_password = forms.CharField(label="Password", required=False, strip=False, widget=_secret_input())
    clear_password = forms.BooleanField(label="Remove the stored password", required=False)
    new_extra = forms.CharField(
        label="Extra (JSON object)", required=False, widget=Unrendered(attrs={"rows": 5, "class": "vLargeTextField"})
    )
    clear_extra = forms.BooleanField(label="Remove everything stored in extra", required=False)

    class Meta:
        model = Connection
        fields = ("conn_id", "conn_type", "description", "host", "port", "schema", "login", "team_name")
        widgets = {
            "description": forms.TextInput(attrs={"class": "vTextField"}),
            "login": forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stored = _Stored(self.instance)
        for name in (*_PLAIN, "new_password"):
            if name in self.fields and (label := getattr(self.kind, name.removeprefix("new_"))):
                self.fields[name].label = label
        for name, example in self.kind.placeholders:
            if name in self.fields:
                self.fields[name].widget.attrs["placeholder"] = example
        if "port" in self.fields and self.kind.port_hint:
            self.fields["port"].help_text = escape(f"Usually {self.kind.port_hint}.")
        if "conn_type" in self.fields:
            self.fields["conn_type"].help_text = "Fields below follow the type; for a type that is not suggested they are the generic ones."
            if self.kind is not type_of(None) or not self.instance.pk:
                self.initial.setdefault("conn_type", self.kind.id)
        self._say_what_is_stored()

    def _say_what_is_stored(self) -> None:
        # help texts are markup to the admin: whatever is not ours is escaped in them
        write_only = "Write-only: stored encrypted, never shown again."
        if "new_password" in self.fields:
            self.fields["new_password"].help_text = f"{self.stored.password_words} {write_only}"
        if "new_extra" in self.fields:
            how = "What you enter here replaces all of it; the fields above change one key each."
            self.fields["new_extra"].help_text = f"{self.stored.extra_words} {write_only} {how}"

    def clean_conn_type(self) -> str:
        """Ids of types are words."""
        value: str = self.cleaned_data["conn_type"].strip()
        if not value or not all(c.isalnum() or c in "_-." for c in value):
            raise forms.ValidationError("A type is letters, digits, “_”, “-” and “.”, as its provider calls it: postgres, http …")
        return value

    def clean_conn_id(self) -> str:
        """Ids can be used in templates and environment variables."""
        value: str = self.cleaned_data["conn_id"].strip()
        if not value or not all(c.isalnum() or c in "_-.#@!?:/()" for c in value):
            raise forms.ValidationError("An id is letters, digits and _ - . # @ ! ? : / ( ) without spaces.")
        return value

    def clean_new_extra(self) -> dict[str, Any] | None:
        """A JSON object; the message never quotes what was typed."""
        text: str = self.cleaned_data["new_extra"].strip()
        if not text:
            return None
        try:
            value = json.loads(text)
        except json.JSONDecodeError as e:
            raise forms.ValidationError(f"This is not JSON: line {e.lineno}, column {e.colno}. Enter it again.") from None
        except (ValueError, RecursionError):
            raise forms.ValidationError("This is not JSON. Enter it again.") from None
        if not isinstance(value, dict):
            raise forms.ValidationError('Extra must be a JSON object: {"key": value, …}. Enter it again.')
        return value

    def clean(self) -> dict[str, Any]:
        """Write-only values onto the instance; an empty field leaves the stored one alone (it is not even loaded)."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if data.get("new_password") and data.get("clear_password"):
            self.add_error("clear_password", "Either enter a new password or remove the stored one.")
        elif data.get("new_password"):
            self.instance.password = data["new_password"]
        elif data.get("clear_password"):
            self.instance.password = None
        if "new_extra" not in self.errors:
            self._put_extra(data)
        return data

    def _put_extra(self, data: dict[str, Any]) -> None:
        keys: dict[str, Any] = {}
        for extra in self.kind.extras:
            value = _typed(extra, data.get(PREFIX + extra.key))
            if value is not None:
                keys[extra.key] = value
        whole = data.get("new_extra")
        if data.get("clear_extra"):
            if whole is not None:
                self.add_error("clear_extra", "Either enter a new extra or remove the stored one.")
                return
            whole = {}
        if whole is None and not keys:
            return
        if whole is None and self.stored.extra_broken:
            self.add_error(
                "new_extra",
                "What is stored cannot be read, so single keys cannot be changed. Replace or remove all of it.",
            )
            return
        merged = {**(self.stored.extra if whole is None else whole), **keys}
        self.instance.extra = json.dumps(merged) if merged else None


class _Stored:
    """What is stored, in words that name no value. Reads the secrets once; they stay in this object."""

    def __init__(self, connection: Connection) -> None:
        self.extra: dict[str, Any] = {}
        self.extra_broken = False
        self.password_words = self._password(connection) if connection.pk else "None is stored."
        self.extra_words = self._extra(connection) if connection.pk else "Nothing is stored."

    def _password(self, connection: Connection) -> str:
        try:
            return "One is stored; leave empty to keep it." if connection.password else "None is stored."
        except WrongKey:
            return f"One is stored, but {_UNREADABLE}"

    def _extra(self, connection: Connection) -> str:
        try:
            text = connection.extra
        except WrongKey:
            self.extra_broken = True
            return f"Something is stored, but {_UNREADABLE}"
        if not text:
            return "Nothing is stored."
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self.extra_broken = True
            return "Something is stored that is no JSON object; leave empty to keep it."
        self.extra = value
        return f"Keys stored: {escape(', '.join(sorted(map(str, value)))) or 'none'}. Leave empty to keep them."


def _typed(extra: ExtraField, value: Any) -> Any:
    """The typed value as it goes into the JSON; None: keep."""
    if value in (None, ""):
        return None
    if extra.kind == "json" and not extra.secret:
        return json.loads(value)
    return value == "true" if extra.kind == "bool" else value


def _extra_field(extra: ExtraField) -> forms.Field:
    common: dict[str, Any] = {
        "label": extra.label,
        "required": False,
        "help_text": escape(f"{extra.hint} Key “{extra.key}” of extra.".strip()),
    }
    if extra.choices or extra.kind == "bool":
        unquoted = {"invalid_choice": "Choose one of the list."}
        named = [(c, c) for c in extra.choices] or [("true", "yes"), ("false", "no")]
        return forms.ChoiceField(choices=[("", "keep what is stored"), *named], widget=UnrenderedSelect, error_messages=unquoted, **common)
    if extra.kind == "int":
        return forms.IntegerField(widget=UnrenderedInput(attrs={"class": "vIntegerField", "inputmode": "numeric"}), **common)
    if extra.kind == "json" and not extra.secret:
        return JsonText(widget=Unrendered(attrs={"rows": 2, "class": "vLargeTextField", "spellcheck": "false"}), **common)
    if extra.kind == "long":
        return forms.CharField(widget=Unrendered(attrs={"rows": 4, "class": "vLargeTextField", "spellcheck": "false"}), **common)
    widget: forms.Widget = _secret_input() if extra.secret else UnrenderedInput(attrs={"class": "vTextField"})
    return forms.CharField(widget=widget, strip=not extra.secret, **common)


def typed_form(conn_type: str | None) -> type[ConnectionForm]:
    """The form class for a type of connection."""
    kind = type_of(conn_type)
    fields: dict[str, Any] = {PREFIX + extra.key: _extra_field(extra) for extra in kind.extras}
    return type("TypedConnectionForm", (ConnectionForm,), {**fields, "kind": kind, "__module__": __name__})
