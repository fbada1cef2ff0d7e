"""`trackside teams`: what teams own and who is a member, of the installation on this machine, or of a server that is named.

Like `people`: local commands become the server's own (`manage.py teams`); with `--server` or `--profile` they go by REST.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from trackside.cli import output, remote_options, server
from trackside.cli.words import Problem, Verb, Verbs, add, group

COLUMNS = ("name", "folders", "tags", "members", "pools", "bundles")
LISTS = {"folder": "folders", "tag": "tags", "pool": "pools", "member": "members"}
"""Option → what it fills."""


def add_contents(one: argparse.ArgumentParser) -> None:
    """The options that say what a team is to own."""
    one.add_argument("--folder", action="append", help="reports/daily, or bundle:reports/daily; with all below")
    one.add_argument("--tag", action="append", help="exactly as DAG files write it")
    one.add_argument("--pool", action="append", help="a pool for this team's DAGs only")
    one.add_argument("--member", action="append", metavar="NAME=ROLE", help="an account, as Viewer, User or Op on what the team owns")


def contents(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the options ask for, as the domain calls take it: members as account → role. What was not given is not there.

    An empty text (`--tag ""`) says that there are none. Raises Problem.
    """
    found: dict[str, Any] = {}
    for option, name in LISTS.items():
        if given.get(option) is not None:
            found[name] = [text for text in given[option] if text]
    if "members" in found:
        found["members"] = dict(map(_member, found["members"]))
    return found


def _member(text: str) -> tuple[str, str]:
    name, equals, role = text.rpartition("=")
    if not equals or not name:
        raise Problem(f"--member {text}: write NAME=ROLE, with Viewer, User or Op as the role")
    return name, role


def for_people(rows: Iterable[Mapping[str, Any]], form: str) -> list[dict[str, Any]]:
    """Rows as they are for programs; in tables `name=role`, as the option takes it."""
    if form in ("json", "yaml"):
        return [dict(row) for row in rows]
    return [{**row, "members": [f"{one['username']}={one['role']}" for one in row["members"]]} for row in rows]


def _to(verb: str) -> Verb:
    def become(given: argparse.Namespace, rest: list[str]) -> int:
        if remote_options.is_named():
            return _remotely(verb, given)
        return _manage_here(verb, given)

    return become


def _manage_here(verb: str, given: argparse.Namespace) -> NoReturn:
    options = [f"-o={given.output}"] if hasattr(given, "output") else []
    for option in LISTS:
        options += [f"--{option}={text}" for text in getattr(given, option, None) or ()]
    server.manage("teams", verb, *options, *(["--", given.name] if hasattr(given, "name") else []))


def _remotely(verb: str, given: argparse.Namespace) -> int:
    from trackside.cli.connecting import connected

    wanted = contents(vars(given))
    with connected() as client:
        if verb == "delete":
            client.delete_team(given.name)
            print(f"{given.name} is deleted.")
            return 0
        if verb == "list":
            output.show(for_people(client.teams(), given.output), COLUMNS, given.output, empty="There are no teams.")
            return 0
        if verb == "show":
            found = client.team(given.name)
        else:
            found = (client.create_team if verb == "create" else client.update_team)(given.name, **wanted)
    output.show_one(for_people([found], given.output)[0], given.output)
    return 0


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    teams = group(verbs, "teams", "what teams own, and who is a member")
    output.add_output(add(teams, "list", _to("list"), "all teams"))
    helps = {
        "show": "one team",
        "create": "make a team",
        "update": "give a team other folders, tags, pools or members: each option replaces the whole list",
    }
    for verb, text in helps.items():
        one = add(teams, verb, _to(verb), text)
        one.add_argument("name")
        if verb != "show":
            add_contents(one)
        output.add_output(one)
    add(teams, "delete", _to("delete"), "delete a team to which nothing belongs any more").add_argument("name")
