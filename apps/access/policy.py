"""Who may do what: the one place that answers, for REST, pages, sockets and the admin. Deny by default.

Roles are Django groups with Airflow's meaning: each one may do what the one before it may, and more.

* Viewer reads DAGs and everything below them, assets, pools, configuration and the monitor pages.
* User also changes DAGs and everything below them: trigger, clear, mark, delete, answer.
* Op also changes pools and assets, and reads and changes connections and variables.
* Admin may do everything, as do superusers.

Roles of one's own are groups, too. An administrator gives them rights on kinds of things, or on single DAGs (`RoleRight`).
A DAG file may give further rights on its DAG: `access_control={"group": {"can_read", "can_edit", "can_delete"}}` names
Django groups of your own. It gives no more than somebody in the DAG's team may do, if the DAG has a team with members: where its
members only read, `can_edit` in its files is nothing. Keys are compared whole and typed (kind, id): no DAG id can be mistaken for a right.
A member of a team has a role on the DAGs that the team owns (`membership`); their files have no say in that. The same role holds on the
connections, variables and pools that are the team's (`allowed_on`, `owned`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from django.apps import apps
from django.db.models import Q

from apps.access import membership

if TYPE_CHECKING:
    from apps.access.models import User

READ, EDIT, CREATE, TRIGGER, DELETE = "read", "edit", "create", "trigger", "delete"
ACTIONS = frozenset({READ, EDIT, CREATE, TRIGGER, DELETE})
"""`create` makes a new thing, `trigger` a new run, `delete` removes; `edit` is every other change."""

DAG_KINDS = frozenset(
    {"dag", "run", "task", "log", "xcom", "version", "source", "warning", "import_error", "hitl", "backfill"}
)
"""Things that belong to one DAG: rights on the DAG are rights on them."""
SHARED_KINDS = frozenset({"asset", "pool", "view"})
"""A `view` is the filters of a list under a name, shared with all."""
SECRET_KINDS = frozenset({"connection", "variable"})
OWNED_KINDS = frozenset({"connection", "variable", "pool"})
"""Things that a team may own (`team_name`): a role in the team gives on them what it gives everywhere else."""
VIEW_KINDS = frozenset({"config", "monitor", "audit"})
ADMIN_KINDS = frozenset({"user", "role", "token", "team"})
"""People and what gives them rights. A token that is limited by scopes never changes these: it could lift its own limits."""
KINDS = DAG_KINDS | SHARED_KINDS | SECRET_KINDS | VIEW_KINDS | ADMIN_KINDS

ROLES = ("Viewer", "User", "Op", "Admin")
_VIEWER, _USER, _OP, _ADMIN = range(1, 5)
_RANKS = dict(zip(ROLES, (_VIEWER, _USER, _OP, _ADMIN), strict=True))

NONE = Q(pk__in=())
"""Filter that nothing passes."""
_CONTROL_WORDS = {READ: "can_read", EDIT: "can_edit", CREATE: "can_edit", TRIGGER: "can_edit", DELETE: "can_delete"}
"""What `access_control` must say for each action; `DAG Runs: can_create` also allows a trigger."""


def groups_of(user: Any) -> frozenset[str]:
    """Names of the user's groups; asked once per user object (a request)."""
    known = getattr(user, "_group_names", None)
    if known is None:
        known = frozenset(user.groups.values_list("name", flat=True))
        user._group_names = known
    return cast("frozenset[str]", known)


def rank_of(user: Any) -> int:
    """0 for nobody and for people without a role, 4 for Admin and superusers."""
    if user is None or not getattr(user, "is_active", False) or not getattr(user, "is_authenticated", False):
        return 0
    if user.is_superuser:
        return _ADMIN
    return max((_RANKS.get(name, 0) for name in groups_of(user)), default=0)


def has_a_role(user: Any) -> bool:
    """Whether the person has a role everywhere or in a team, or one of one's own with rights."""
    if rank_of(user) > 0:
        return True
    known = getattr(user, "is_active", False) and user.is_authenticated
    return bool(known and (membership.roles_of(user) or membership.rights_of(user, groups_of(user))))


def _needed(action: str, kind: str) -> int:
    """The least role that may do this everywhere."""
    if kind in DAG_KINDS:
        return _VIEWER if action == READ else _USER
    if kind in SHARED_KINDS:
        return _VIEWER if action == READ else _OP
    if kind in SECRET_KINDS:
        return _OP
    if kind in VIEW_KINDS:
        return _VIEWER if action == READ else _ADMIN
    return _ADMIN


def allowed(user: User | None, action: str, kind: str, dag_id: str | None = None) -> bool:
    """May this user do this? With `dag_id` also rights that only this DAG's file gives count.

    Tokens with scopes may do less than their owner. Raises ValueError for an action or kind that does not exist.
    """
    if action not in ACTIONS or kind not in KINDS:
        raise ValueError(f"no such right: {action!r} on {kind!r}")
    if user is None or not user.is_active:
        return False
    scopes = getattr(user, "token_scopes", None)
    if scopes and (action not in scopes or (action != READ and kind in ADMIN_KINDS)):
        return False
    if rank_of(user) >= _needed(action, kind) or _granted_by_role(user, action, kind, dag_id):
        return True
    if dag_id is None or kind not in DAG_KINDS:
        return False
    return _granted_by_team(user, _needed(action, kind), dag_id) or _granted_by_file(user, action, dag_id)


LEVELS = {
    "see": frozenset({READ}), "trigger": frozenset({READ, TRIGGER}), "change": frozenset({READ, TRIGGER, EDIT, CREATE}), "all": ACTIONS,
}  # fmt: skip
"""What each level of a `RoleRight` allows."""


def _granted_by_role(user: User, action: str, kind: str, dag_id: str | None) -> bool:
    """Whether a role of one's own allows it: on everything of the kind, or on this DAG."""
    of = "dag" if kind in DAG_KINDS else kind
    if of in VIEW_KINDS and action != READ:
        return False
    rights = membership.rights_of(user, groups_of(user) - _RANKS.keys())
    return any(on == of and action in LEVELS[level] and only in ("", dag_id) for on, level, only in rights)


def allowed_on(user: User | None, action: str, kind: str, team: str | None) -> bool:
    """May this user do this to a thing of OWNED_KINDS that is this team's? None or empty: to one that is nobody's."""
    return allowed(user, action, kind) or bool(team and team in teams_for(user, action, kind))


def teams_for(user: User | None, action: str, kind: str) -> frozenset[str]:
    """The teams whose things of this kind the person may do this to, though not to everybody's. Raises ValueError as `allowed`."""
    if action not in ACTIONS or kind not in KINDS:
        raise ValueError(f"no such right: {action!r} on {kind!r}")
    if kind not in OWNED_KINDS or user is None or not user.is_active:
        return frozenset()
    scopes = getattr(user, "token_scopes", None)
    return frozenset() if scopes and action not in scopes else _teams_with(user, _needed(action, kind))


def owned(user: User | None, action: str, kind: str) -> Q:
    """Filter that keeps the things of this kind (rows with `team_name`) to which the person may do this."""
    if allowed(user, action, kind):
        return Q()
    found = teams_for(user, action, kind)
    return Q(team_name__in=sorted(found)) if found else NONE


def _granted_by_team(user: User, needed: int, dag_id: str) -> bool:
    return bool(membership.dags_of(_teams_with(user, needed), dag_id))


def _teams_with(user: User, needed: int) -> frozenset[str]:
    """The teams in which the person has at least this role."""
    return frozenset(team for team, role in membership.roles_of(user).items() if _RANKS[role] >= needed)


def _granted_by_file(user: User, action: str, dag_id: str) -> bool:
    own = groups_of(user)
    if not own:
        return False
    dags = apps.get_model("dags", "Dag").objects.filter(pk=dag_id)
    control = dags.values_list("current_version__spec__access_control", flat=True).first()
    if not isinstance(control, dict) or not any(_grants(control.get(name), action) for name in own):
        return False
    # an author gives no more than the author's team may do; to read is the least that any of them may
    most = None if action == READ else membership.highest_in_team_of(dag_id)
    return most is None or _RANKS[most] >= _needed(action, "dag")


def _grants(rights: Any, action: str) -> bool:
    """Both spellings: a list of words, or {"DAGs": [...], "DAG Runs": [...]}."""
    word = _CONTROL_WORDS[action]
    if isinstance(rights, dict):
        if word in (rights.get("DAGs") or ()):
            return True
        return action == TRIGGER and "can_create" in (rights.get("DAG Runs") or ())
    return isinstance(rights, Iterable) and not isinstance(rights, str) and word in rights


def visible_dags(user: User | None, prefix: str = "") -> Q:
    """Filter that keeps the DAGs this user may read.

    `prefix` leads from the filtered model to the DAG: `Run.objects.filter(visible_dags(user, "dag"))`,
    `TaskInstance.objects.filter(visible_dags(user, "run__dag"))`.
    """
    if user is None or not user.is_active:
        return NONE
    scopes = getattr(user, "token_scopes", None)
    if scopes and READ not in scopes:
        return NONE
    if rank_of(user) >= _VIEWER:
        return Q()
    if _granted_by_role(user, READ, "dag", None):
        return Q()
    by_role = {only for kind, _level, only in membership.rights_of(user, groups_of(user) - _RANKS.keys()) if kind == "dag"}
    readable = {*membership.dags_of(_teams_with(user, _VIEWER)), *_readable_by_file(user), *by_role}
    if not readable:
        return NONE
    return Q(**{f"{prefix}__in" if prefix else "pk__in": sorted(readable)})


def sees_a_dag(user: User | None) -> bool:
    """Whether there is any DAG that this user may read."""
    return visible_dags(user) != NONE


def _readable_by_file(user: User) -> list[str]:
    """The DAGs whose files let one of the person's groups read them."""
    names = sorted(groups_of(user))
    if not names:
        return []
    controlled = apps.get_model("dags", "Dag").objects.filter(current_version__spec__access_control__has_any_keys=names)
    found = controlled.values_list("pk", "current_version__spec__access_control")
    return [dag_id for dag_id, control in found if any(_grants(control.get(name), READ) for name in names)]
