"""What roles of one's own allow: rights as texts, checked and stored. `dag:see`, `connection:change`, `dag=orders:all`.

For the administration's form, REST (`api.people`) and the command line (`trackside roles set-rights`). `policy` reads the rows; the four
roles that every Trackside has mean what they mean and take none.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.apps import apps
from django.contrib.auth.models import Group
from django.db import transaction

from apps.access import audit, people, policy
from apps.access.audit import Actor
from apps.access.errors import Refused
from apps.access.models import RoleRight

KINDS, LEVELS = tuple(RoleRight.Kind.values), tuple(RoleRight.Level.values)
_FORM = f"KIND:LEVEL, such as connection:change, or dag=DAG:LEVEL. Kinds: {', '.join(KINDS)}. Levels: {', '.join(LEVELS)}"


def as_text(right: RoleRight) -> str:
    """`dag=orders:all`."""
    return f"{right.kind}{f'={right.dag_id}' if right.dag_id else ''}:{right.level}"


def texts_of(group: Group) -> list[str]:
    """All of a role, sorted."""
    return sorted(as_text(right) for right in group.rights.all())  # type: ignore[attr-defined]


def flaw(kind: str, level: str, dag_id: str) -> tuple[str, str] | None:
    """(field, why) if a role cannot have this right."""
    if kind not in KINDS:
        return "kind", f"There is no kind {kind}; there are {', '.join(KINDS)}."
    if level not in LEVELS:
        return "level", f"There is no level {level}; there are {', '.join(LEVELS)}."
    if kind in policy.VIEW_KINDS and level != "see":
        return "level", f"A role can only see: nobody changes the {kind} pages. Write {kind}:see."
    if level == "trigger" and kind != "dag":
        return "level", f"Only DAGs are triggered. Write {kind}:see or {kind}:change."
    if dag_id and kind != "dag":
        return "dag_id", f"Rights on a single DAG are of the kind dag, not {kind}."
    if dag_id and not apps.get_model("dags", "Dag").objects.filter(pk=dag_id).exists():
        return "dag_id", f"There is no DAG {dag_id}."
    return None


def parse(text: str) -> RoleRight:
    """A right that is not stored. Raises Refused."""
    on, colon, level = text.rpartition(":")
    kind, _, dag_id = on.partition("=")
    if not colon:
        raise Refused(f"{text!r} is no right: write {_FORM}.", field="rights")
    if (wrong := flaw(kind, level, dag_id)) is not None:
        raise Refused(f"{text!r}: {wrong[1]}", field="rights")
    return RoleRight(kind=kind, level=level, dag_id=dag_id)


def set_rights(name: str, texts: Iterable[str], *, actor: Actor) -> Group:
    """Give a role of one's own these rights and no others. Raises NotThere, Refused."""
    if name in policy.ROLES:
        raise Refused(f"{name} is a role that every Trackside has: what it allows is fixed. Make one of your own.", field="rights")
    wanted = {(right.kind, right.dag_id): right for right in map(parse, texts)}
    with transaction.atomic():
        group = Group.objects.select_for_update().get(pk=people.role(name).pk)
        before = texts_of(group)
        group.rights.all().delete()  # type: ignore[attr-defined]
        for right in wanted.values():
            right.group = group
            right.save()
        after = texts_of(group)
        if before != after:
            change = audit.change({"rights": before}, {"rights": after})
            audit.record("patch_group", actor, object_type="group", object_id=name, extra=change)
    return group
