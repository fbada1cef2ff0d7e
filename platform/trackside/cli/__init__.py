"""The `trackside` command. `main` is its entry point; one function per sub-command, read by `commands`.

Nothing of the server is imported here: this package is part of the wheel that workers and pods install. Sub-commands
that need the server become `python -m config.manage …` when it is installed on this machine (`server`).
"""

from trackside.cli.commands import main

__all__ = ["main"]
