"""`python -m config.showing` (`trackside config list|get`): what this installation is set to, and by what.

For operators, on the machine of the installation: REST tells settings to nobody. Secrets are masked, also inside addresses.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence

from config.manage import ROOT

MASK = "***"
SECRET = re.compile(r"(^|_)((?<!PARTITION_)KEYS?|TOKEN|PASSWORD|SECRET|CERT)$")
INSIDE = re.compile(r"(?<=://)([^:/@\s]*):([^@/\s]+)@")
COLUMNS = ("setting", "value", "from")


def rows() -> list[dict[str, str]]:
    """Every setting there is, as this environment sets it. Raises BadSetting (SystemExit) when one of them will not do."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    import config.settings  # noqa: F401  (reading it is what notes them)
    from config.elsewhere import ELSEWHERE, FROM_FILES
    from config.env import READ, env_str

    for name in ELSEWHERE.keys() - READ.keys():
        if name.startswith(FROM_FILES):
            env_str(name, ELSEWHERE[name])
        else:
            READ[name] = (os.environ[name], "environment") if name in os.environ else (ELSEWHERE[name], "default")
    return [{"setting": name, "value": shown(name, text), "from": source} for name, (text, source) in sorted(READ.items())]


def shown(name: str, text: str) -> str:
    """The value for people's eyes: a secret is a mask, an address with a password has it masked."""
    if SECRET.search(name) and text:
        return MASK
    if text.lstrip().startswith(("{", "[")) and re.search(r"secret|password|token|key", text, re.I):
        return MASK  # JSON with a secret somewhere inside (bundles with credentials)
    return INSIDE.sub(rf"\1:{MASK}@", text)


def main(argv: Sequence[str] | None = None) -> int:
    """Print them. 0, or 1 when the setting does not exist."""
    from trackside.cli import output

    parser = argparse.ArgumentParser(prog="trackside config")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--changed", action="store_true")
    output.add_output(parser)
    given = parser.parse_args(argv)
    found = rows()
    if given.name is None:
        output.show([row for row in found if not given.changed or row["from"] != "default"], COLUMNS, given.output, empty="None is set.")
        return 0
    one = next((row for row in found if row["setting"] == given.name.upper()), None)
    if one is None:
        sys.stderr.write(f"trackside: there is no setting {given.name}; `trackside config list` names them all\n")
        return 1
    if given.output in ("json", "yaml"):
        output.show_one(one, given.output)
    else:
        sys.stdout.write(f"{one['value']}\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()
