"""`trackside profiles list|add|use|remove|show`: names for servers and their tokens, kept on this machine.

For people who talk to more than one server. The file is that of `trackside.client.profiles`; a token is read from the terminal or
standard input, never from an argument, and never printed.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import Any

from trackside.cli import output
from trackside.cli.words import Problem, Verb, Verbs, add, group

COLUMNS = ("name", "used", "server", "signs_in_with")


def _shown(name: str, entry: dict[str, Any], used: bool) -> dict[str, Any]:
    """A profile without its secret."""
    how = "token" if entry.get("token") else f"token of {entry['token_file']}" if entry.get("token_file") else None
    return {"name": name, "used": used, "server": entry.get("server"), "signs_in_with": how or entry.get("username") or "nothing"}


def _all() -> list[dict[str, Any]]:
    from trackside.client import profiles

    known = profiles.read()
    used = profiles.used(known) or "default"
    return [_shown(name, entry, name == used) for name, entry in known.items() if isinstance(entry, dict)]


def list_(given: argparse.Namespace, rest: list[str]) -> int:
    """All profiles; tokens are not shown."""
    output.show(_all(), COLUMNS, given.output, empty="There are none; `trackside profiles add NAME URL` makes one.")
    return 0


def show(given: argparse.Namespace, rest: list[str]) -> int:
    """One profile; its token is not shown."""
    found = [row for row in _all() if row["name"] == given.name]
    if not found:
        raise Problem(f"there is no profile {given.name!r}; `trackside profiles list` names them all")
    output.show_one(found[0], given.output)
    return 0


def add_one(given: argparse.Namespace, rest: list[str]) -> int:
    """Store a server under a name."""
    from trackside.client import profiles

    if not given.url.startswith(("http://", "https://")):
        raise Problem(f"{given.url!r} is no address of a server: write it with http:// or https://")
    entry = {"server": given.url.rstrip("/")}
    if given.username:
        entry["username"] = given.username
    elif given.token_file:
        if not Path(given.token_file).expanduser().is_file():
            raise Problem(f"there is no file {given.token_file}")
        entry["token_file"] = given.token_file
    elif token := _token():
        entry["token"] = token
    first = not _all()
    profiles.store(given.name, entry)
    if first or given.use:
        profiles.use(given.name)
    print(f"{given.name} is {entry['server']}, kept in {profiles.where()}")
    return 0


def _token() -> str:
    """From the terminal without echo, or the first line of standard input. Empty: none."""
    text = getpass.getpass("Token (empty: none): ") if sys.stdin.isatty() else sys.stdin.readline()
    if not text.isascii() or any(c.isspace() for c in text.strip()):
        raise Problem("that is no token: it has letters, digits, - and _ only")
    return text.strip()


def use(given: argparse.Namespace, rest: list[str]) -> int:
    """Which one counts from now on."""
    from trackside.client import profiles

    profiles.use(given.name)
    print(f"{given.name} is used when no server and no profile is named")
    return 0


def remove(given: argparse.Namespace, rest: list[str]) -> int:
    """Forget one, with its token."""
    from trackside.client import profiles

    profiles.remove(given.name)
    print(f"{given.name} is forgotten")
    return 0


def _guarded(verb: Verb) -> Verb:
    """A file that is wrong, or httpx that is missing, is a Problem."""

    def guarded(given: argparse.Namespace, rest: list[str]) -> int:
        try:
            from trackside.client import NoProfile
        except ImportError as error:
            raise Problem(f"this command needs httpx ({error}); `pip install 'trackside[cli]'` brings it") from None
        try:
            return verb(given, rest)
        except (NoProfile, OSError) as error:
            raise Problem(str(error)) from error

    return guarded


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    profiles = group(verbs, "profiles", "names for servers and their tokens, for --profile")
    output.add_output(add(profiles, "list", _guarded(list_), "all profiles; tokens are not shown"))
    one = add(profiles, "add", _guarded(add_one), "store a server under a name; the token is asked for or read from standard input")
    one.add_argument("name")
    one.add_argument("url", help="such as https://trackside.example.org")
    one.add_argument("--token-file", metavar="FILE", help="read the token from this file each time, instead of storing it")
    one.add_argument("--username", help="sign in with this name, and the password of TRACKSIDE_PASSWORD")
    one.add_argument("--use", action="store_true", help="use it from now on when none is named; the first one is anyway")
    add(profiles, "use", _guarded(use), "use this one when no server and no profile is named").add_argument("name")
    add(profiles, "remove", _guarded(remove), "forget one, with its token").add_argument("name")
    one = add(profiles, "show", _guarded(show), "one profile; its token is not shown")
    one.add_argument("name")
    output.add_output(one)
