"""Connections, variables and pools of teams over REST: whoever has a role in a team only does to its things what the role allows.

`Operation` lets such people in; the operations of these three resources ask here for the object they are about. For whoever
has the right everywhere nothing is looked up. What somebody may not see is answered like what is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Model, QuerySet

from apps.access import policy
from apps.access.rest.errors import Problem, not_found
from apps.access.rest.operations import Call


@dataclass(frozen=True, slots=True)
class Owned:
    """One kind of things that teams own."""

    kind: str
    model: type[Model]
    column: str
    """Of its name."""
    missing: str
    """What is answered for a name that does not exist; `{}` stands for it."""

    def rows(self, call: Call) -> QuerySet[Any]:
        """Those that the caller may read."""
        found: QuerySet[Any] = self.model._default_manager.filter(policy.owned(call.user, policy.READ, self.kind))
        return found

    @contextmanager
    def held(self, call: Call, action: str, name: str, values: Mapping[str, Any] | None = None, *, new: bool = False) -> Iterator[None]:
        """Inside, the object is one to which the caller may do this, and stays it; so is what `values` make of it. `new`: it is made.

        Raises Problem: 404 for one that the caller may not see, 403 for one they may only see, for another team in `values`, and for
        the name of one that they may not see.
        """
        if call.allowed(action, self.kind):
            yield
            return
        mine = policy.teams_for(call.user, action, self.kind)
        with transaction.atomic():
            there = self.model._default_manager.select_for_update().filter(**{self.column: name}).values_list("team_name", flat=True)[:1]
            for team in there:
                if new and team not in mine:
                    raise Problem(403, f"The name `{name}` cannot be used. Choose another one.")
                if team not in mine:
                    seen = policy.allowed_on(call.user, policy.READ, self.kind, team)
                    raise Problem(403, "Forbidden") if seen else not_found(self.missing.format(name))
            if not there and not new:
                raise not_found(self.missing.format(name))
            if values is not None and (new or "team_name" in values) and values.get("team_name") not in mine:
                raise Problem(403, f"You may do this for your teams only: team_name must be one of {', '.join(sorted(mine))}.")
            yield
