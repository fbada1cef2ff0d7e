"""The form for a team: its folders and tags, one a line, checked before anything is written. Used by `admin.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django import forms

from apps.access import team_calls
from apps.access.errors import Refused
from apps.access.models import Team

Checked = TypeVar("Checked")


class OnePerLine(forms.CharField):
    """A list of texts, each on a line of its own; blank lines and repetitions go."""

    def __init__(self, *, longest: int, **kwargs: Any) -> None:
        box = forms.Textarea(attrs={"rows": 4, "class": "vLargeTextField", "spellcheck": "false"})
        super().__init__(required=False, widget=box, **kwargs)
        self.longest = longest

    def prepare_value(self, value: Any) -> Any:
        """As the box shows it."""
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """The lines."""
        found = list(dict.fromkeys(line.strip() for line in str(value or "").splitlines() if line.strip()))
        if too_long := [line for line in found if len(line) > self.longest]:
            raise forms.ValidationError(f"“{too_long[0][:40]}…” is longer than {self.longest} characters.")
        return found

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compares the texts, not the type."""
        return bool(self.prepare_value(initial or []) != "\n".join(str(data or "").split("\r\n")))


class TeamForm(forms.ModelForm):
    """Name, folders, tags."""

    folders = OnePerLine(longest=500, help_text="One a line: reports/daily in any bundle, or bundle:reports/daily. With everything below.")
    tags = OnePerLine(
        longest=100, help_text="One a line, exactly as DAG files write them. Authors choose tags: for keeping apart, not for protection."
    )

    class Meta:
        model = Team
        fields = ("name", "folders", "tags")

    def clean_name(self) -> str:
        """See `team_calls.usable_name`."""
        return _in_a_form(team_calls.usable_name, self.cleaned_data["name"])

    def clean_folders(self) -> list[str]:
        """See `team_calls.free_folders`."""
        return _in_a_form(team_calls.free_folders, self.cleaned_data["folders"], self.instance.pk or 0)

    def clean_tags(self) -> list[str]:
        """See `team_calls.free_tags`."""
        return _in_a_form(team_calls.free_tags, self.cleaned_data["tags"], self.instance.pk or 0)


def _in_a_form(check: Callable[..., Checked], *values: Any) -> Checked:
    """The check of a domain call, with a form's exception."""
    try:
        return check(*values)
    except Refused as e:
        raise forms.ValidationError(e.detail) from e
