"""Accounts, service accounts, roles, tokens and teams: `/api/trackside/v1`, for administrators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trackside.client.calls import OWN, Calls, q
from trackside.client.http import given
from trackside.client.tables import Table

_USER = ("username", "roles", "signs_in_with", "email", "is_active", "is_superuser", "last_login")
_ROLE = ("name", "members", "built_in", "rights")
_TOKEN = ("prefix", "owner", "name", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
_TEAM = ("name", "folders", "tags", "members", "pools", "bundles")


class People(Calls):
    """Who may sign in, and what they may do."""

    def users(self, *, signs_in_with: str | None = None, role: str | None = None) -> Table:
        """All accounts; `signs_in_with="token"`: service accounts."""
        return self.pages("/users", "users", _USER, base=OWN, **given(signs_in_with=signs_in_with, role=role))

    def create_user(
        self, username: str, roles: Sequence[str] = ("Viewer",), *, email: str = "", password: str | None = None,
        signs_in_with: str = "password",
    ) -> dict[str, Any]:  # fmt: skip
        """Make an account; without a password one is made up, and is in the answer this once."""
        body = {"username": username, "roles": list(roles), "email": email, "signs_in_with": signs_in_with, **given(password=password)}
        made: dict[str, Any] = self.call("POST", f"{OWN}/users", json=body)
        return made

    def create_service_account(self, username: str, roles: Sequence[str] = ("Viewer",)) -> dict[str, Any]:
        """Make an account that has tokens only."""
        return self.create_user(username, roles, signs_in_with="token")

    def set_roles(self, username: str, roles: Sequence[str]) -> dict[str, Any]:
        """Give an account these roles and no others."""
        found: dict[str, Any] = self.call("PATCH", f"{OWN}/users/{q(username)}", json={"roles": list(roles)})
        return found

    def delete_user(self, username: str) -> None:
        """Delete an account with its tokens."""
        self.call("DELETE", f"{OWN}/users/{q(username)}")

    def roles(self) -> Table:
        """All roles."""
        return self.pages("/roles", "roles", _ROLE, base=OWN)

    def create_role(self, name: str, rights: Sequence[str] = ()) -> dict[str, Any]:
        """Make a role with these rights (`connection:change`, `dag=orders:all`); `access_control` of DAG files may name it, too."""
        made: dict[str, Any] = self.call("POST", f"{OWN}/roles", json={"name": name, "rights": list(rights)})
        return made

    def set_rights(self, name: str, rights: Sequence[str]) -> dict[str, Any]:
        """Give a role of your own these rights and no others."""
        found: dict[str, Any] = self.call("PATCH", f"{OWN}/roles/{q(name)}", json={"rights": list(rights)})
        return found

    def delete_role(self, name: str) -> None:
        """Delete a role of your own."""
        self.call("DELETE", f"{OWN}/roles/{q(name)}")

    def tokens(self, *, owner: str | None = None, all: bool = False) -> Table:
        """Tokens that still open something; with `all` also revoked and expired ones."""
        return self.pages("/tokens", "tokens", _TOKEN, base=OWN, **given(owner=owner, all=all or None))

    def create_token(self, owner: str, name: str, *, scopes: Sequence[str] = (), expires_at: str | None = None) -> dict[str, Any]:
        """Make a token; its text, `token`, is in the answer this once."""
        made: dict[str, Any] = self.call(
            "POST", f"{OWN}/tokens", json={"owner": owner, "name": name, "scopes": list(scopes), **given(expires_at=expires_at)}
        )
        return made

    def revoke_token(self, prefix: str) -> dict[str, Any]:
        """Refuse a token from now on; `prefix` is how it begins."""
        found: dict[str, Any] = self.call("DELETE", f"{OWN}/tokens/{q(prefix.removeprefix('trk_').partition('_')[0])}")
        return found

    def teams(self, *, member: str | None = None) -> Table:
        """All teams; `member`: those of this account."""
        return self.pages("/teams", "teams", _TEAM, base=OWN, **given(member=member))

    def team(self, name: str) -> dict[str, Any]:
        """One team: what it owns and its members."""
        found: dict[str, Any] = self.call("GET", f"{OWN}/teams/{q(name)}")
        return found

    def create_team(
        self, name: str, *, folders: Sequence[str] = (), tags: Sequence[str] = (), pools: Sequence[str] = (),
        members: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Make a team. `members`: account → Viewer, User or Op, on what the team owns."""
        body = {"name": name, **_of_team(folders, tags, pools, members or {})}
        made: dict[str, Any] = self.call("POST", f"{OWN}/teams", json=body)
        return made

    def update_team(
        self, name: str, *, folders: Sequence[str] | None = None, tags: Sequence[str] | None = None, pools: Sequence[str] | None = None,
        members: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Replace what is given, each as a whole; the rest stays."""
        found: dict[str, Any] = self.call("PATCH", f"{OWN}/teams/{q(name)}", json=_of_team(folders, tags, pools, members))
        return found

    def delete_team(self, name: str) -> None:
        """Delete a team to which nothing belongs any more."""
        self.call("DELETE", f"{OWN}/teams/{q(name)}")


def _of_team(
    folders: Sequence[str] | None, tags: Sequence[str] | None, pools: Sequence[str] | None, members: Mapping[str, str] | None
) -> dict[str, Any]:
    listed = None if members is None else [{"username": name, "role": role} for name, role in members.items()]
    lists = {"folders": folders, "tags": tags, "pools": pools, "members": listed}
    return {name: list(values) for name, values in lists.items() if values is not None}
