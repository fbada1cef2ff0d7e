"""The form for a variable: its value is shown unless its key, or a key inside of its JSON, names a secret.

A secret value goes in and never comes back, not even when another field is wrong. Used by `admin.py`.
"""

from __future__ import annotations

import json
from typing import Any

from django import forms

from apps.access.connection_form import Unrendered
from apps.access.crypto import WrongKey
from apps.access.masking import is_sensitive, mask
from apps.access.models import Variable
from trackside.core import idtext

_UNREADABLE = "none of TRACKSIDE_FERNET_KEYS can read it: enter it again"


def is_secret(key: str | None, value: str | None) -> bool:
    """Whether the value is hidden: by the variable's key, or because its JSON holds something under a secret's name."""
    if is_sensitive(key):
        return True
    try:
        parsed = json.loads(value or "")
    except (ValueError, RecursionError):
        return False
    return bool(mask(parsed) != parsed)


def format_words(value: str | None) -> str:
    """What the value is, for people who meant JSON: DAGs read it with `deserialize_json=True`."""
    if not value:
        return "Empty."
    try:
        parsed = json.loads(value)
    except json.JSONDecodeError as e:
        if value.lstrip()[:1] in "{[":
            return f"Looks like JSON but is not: line {e.lineno}, column {e.colno}."
        return "Text."
    except (ValueError, RecursionError):
        return "Text."
    if isinstance(parsed, dict):
        return f"Valid JSON: an object of {len(parsed)} keys."
    return f"Valid JSON: a list of {len(parsed)} items." if isinstance(parsed, list) else "Valid JSON."


class VariableForm(forms.ModelForm):
    """Key, value, description. `hidden` says whether the stored or sent value may be shown.

    `new_value` is no field of the model: Django would write what the form leaves empty.
    """

    new_value = forms.CharField(
        label="Value",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8, "class": "vLargeTextField", "spellcheck": "false"}),
    )
    clear_value = forms.BooleanField(label="Make the value empty", required=False)

    class Meta:
        model = Variable
        fields = ("key", "description", "team_name")
        widgets = {"description": forms.TextInput(attrs={"class": "vTextField"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored, broken = self._stored()
        sent = self.data if self.is_bound else {}
        self.hidden = bool(broken or is_secret(self.instance.key or sent.get("key"), stored) or is_secret(None, sent.get("new_value")))
        if "new_value" not in self.fields:
            return
        if self.hidden:
            field = self.fields["new_value"]
            field.widget = Unrendered(attrs={"rows": 4, "class": "vLargeTextField", "spellcheck": "false"})
            kept = "A value is stored" if stored or broken else "The value is empty"
            what = _UNREADABLE if broken else "leave this empty to keep it"
            format_of_stored = "" if broken else format_words(stored)
            field.help_text = f"{kept}; {what}. Write-only: a secret is never shown again. {format_of_stored}"
        else:
            self.initial.setdefault("new_value", stored)
            new = "Text, or JSON. Values of keys that name a secret are write-only."
            self.fields["new_value"].help_text = format_words(stored) if self.instance.pk else new
            self.fields.pop("clear_value", None)

    def _stored(self) -> tuple[str | None, bool]:
        if not self.instance.pk:
            return None, False
        try:
            return self.instance.value, False
        except WrongKey:
            return None, True

    def clean_key(self) -> str:
        """Keys are kept as typed, without blanks around."""
        key: str = self.cleaned_data["key"].strip()
        if not key:
            raise forms.ValidationError("Enter a key.")
        if why := idtext.flaw(key, "key of the variable"):
            raise forms.ValidationError(why)
        return key

    def clean(self) -> dict[str, Any]:
        """The value onto the instance: an empty secret keeps the stored one."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        value = data.get("new_value") or ""
        if data.get("clear_value") and value:
            self.add_error("clear_value", "Either enter a new value or make it empty.")
        elif value or data.get("clear_value") or not self.hidden:
            self.instance.value = value
        return data
