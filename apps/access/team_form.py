"""The form for a team: its folders and tags, one a line, checked before anything is written. Used by `admin.py`."""

from __future__ import annotations

from typing import Any

from django import forms

from apps.access import teams
from apps.access.models import Team


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
        """Compared whole with what connections, variables, pools and bundles say: no blanks around it."""
        name: str = self.cleaned_data["name"].strip()
        if not name:
            raise forms.ValidationError("Enter a name.")
        return name

    def clean_folders(self) -> list[str]:
        """Each has to be one, and nobody else's: two owners of a folder would be a matter of luck."""
        found: list[str] = self.cleaned_data["folders"]
        others = {teams.split_folder(text): team.name for team in Team.objects.exclude(pk=self.instance.pk) for text in team.folders}
        for text in found:
            try:
                owner = others.get(teams.split_folder(text))
            except ValueError as e:
                raise forms.ValidationError(str(e)) from e
            if owner:
                raise forms.ValidationError(f"“{text}” belongs to team {owner} already.")
        return found

    def clean_tags(self) -> list[str]:
        """Nobody else's, for the same reason."""
        found: list[str] = self.cleaned_data["tags"]
        for team in Team.objects.exclude(pk=self.instance.pk).filter(tags__overlap=found) if found else ():
            both = sorted(set(found) & set(team.tags))
            raise forms.ValidationError(f"The tag “{both[0]}” belongs to team {team.name} already.")
        return found
