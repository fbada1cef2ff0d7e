"""What commands for a server share: the server that was named, the form of their answers, how their words are declared.

For `remote`, `remote_plans`, `remote_actions`, `remote_people`. Next door: `remote_options` takes `--server` and `--profile` off the words.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trackside.cli import output, server
from trackside.cli.words import Problem, Verb, Verbs, add

if TYPE_CHECKING:
    from trackside.client import Client, Table


@contextmanager
def connected() -> Iterator[Client]:
    """The server that was named. Raises Problem, also for what it refuses."""
    try:
        from trackside.client import ApiError, Client, NoProfile, Unreachable, find
    except ImportError as error:
        raise Problem(f"this command needs httpx ({error}); `pip install 'trackside[cli]'` brings it") from None
    try:
        profile = find(os.environ.get("TRACKSIDE_SERVER"), os.environ.get("TRACKSIDE_PROFILE"))
        if profile is None and not server.is_installed():
            raise Problem("which server? Write --server URL or --profile NAME, or set TRACKSIDE_SERVER")
        with Client.of(profile) if profile else Client(server.HERE, transport=server.here()) as client:
            yield client
    except (ApiError, Unreachable, NoProfile, TimeoutError) as error:
        raise Problem(str(error)) from error


def table(found: Table, given: argparse.Namespace) -> int:
    """Print a list."""
    output.show(found, found.columns, given.output, empty="There are none.")
    return 0


def remote_word(verbs: Verbs, name: str, verb: Verb, text: str, *positional: str) -> argparse.ArgumentParser:
    """A sub-command with these arguments (`?` and `+` behind a name as in argparse) and `-o`."""
    one = add(verbs, name, verb, text)
    for word in positional:
        one.add_argument(word.rstrip("+?"), nargs=word[-1] if word[-1] in "+?" else None)
    output.add_output(one)
    return one
