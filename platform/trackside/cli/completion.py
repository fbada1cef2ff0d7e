"""`trackside completion bash|zsh|fish`: completion scripts made from the words of the command itself.

For people at a shell. The script is a fixed table of words and options and asks nothing when Tab is pressed; it is made
again after an update. Next door: `commands` has the parser that is walked here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from trackside.cli.words import Verbs, add

GLOBAL = ("--server", "--profile")
"""Options that stand before the first word and take a value (`remote_options`)."""
SHELLS = ("bash", "zsh", "fish")

BASH = """\
# trackside completion for bash: source <(trackside completion bash)
_trackside() {
    local cur="${COMP_WORDS[COMP_CWORD]}" at="" next="" i=1 word words
    while (( i < COMP_CWORD )); do
        word="${COMP_WORDS[i]}"
        case "$at|$word" in
            "|--server"|"|--profile") (( i += 2 )); continue ;;
        esac
        next="${at:+$at }$word"
        case "$next" in
            @GROUPS@) at="$next" ;;
        esac
        (( i += 1 ))
    done
    case "$at" in
@CASES@
        *) words="" ;;
    esac
    COMPREPLY=( $(compgen -W "$words" -- "$cur") )
    if (( ${#COMPREPLY[@]} == 0 )); then COMPREPLY=( $(compgen -f -- "$cur") ); fi
}
complete -F _trackside trackside
"""
FISH = """\
# trackside completion for fish: trackside completion fish | source
function __trackside_at
    set -l at ''
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        if test -z "$at"; and contains -- $word --server --profile
            set skip 1
            continue
        end
        set -l next (string trim -- "$at $word")
        if contains -- $next @PATHS@
            set at $next
        end
    end
    test "$at" = "$argv[1]"
end
"""


def table(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[tuple[str, str]]]]:
    """For every word path of the command: what may follow it (words, options, choices), each with its help."""
    follow: list[tuple[str, str]] = [] if path else [(option, "which server") for option in GLOBAL]
    below: list[tuple[str, argparse.ArgumentParser]] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            follow += [(name, helps.get(name, "")) for name in action.choices]
            below += list(action.choices.items())
        else:
            follow += [(option, action.help or "") for option in action.option_strings]
            follow += [(str(choice), action.help or "") for choice in action.choices or ()]
    yield path, follow
    for name, one in below:
        yield from table(one, (*path, name))


def bash(parser: argparse.ArgumentParser) -> str:
    """The script for bash."""
    rows = list(table(parser))
    known = "|".join(f'"{" ".join(path)}"' for path, _ in rows if path)
    cases = "\n".join(f'        "{" ".join(path)}") words="{" ".join(word for word, _ in follow)}" ;;' for path, follow in rows)
    return BASH.replace("@GROUPS@", known).replace("@CASES@", cases)


def zsh(parser: argparse.ArgumentParser) -> str:
    """The script for zsh: that of bash, by way of zsh's own bridge to it."""
    return "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" + bash(parser).replace(
        "# trackside completion for bash: source <(trackside completion bash)",
        "# trackside completion for zsh: source <(trackside completion zsh)",
    )


def fish(parser: argparse.ArgumentParser) -> str:
    """The script for fish."""
    rows = list(table(parser))
    lines = [FISH.replace("@PATHS@", " ".join(_quoted(" ".join(path)) for path, _ in rows if path))]
    for path, follow in rows:
        where = f"-n '__trackside_at \"{' '.join(path)}\"'"
        lines += [f"complete -c trackside {where} -a {_quoted(word)} -d {_quoted(text)}" for word, text in follow]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("%%", "%").replace("\\", "\\\\").replace("'", "\\'") + "'"


def completion(given: argparse.Namespace, rest: list[str]) -> int:
    """Print the script."""
    from trackside.cli.commands import build_parser

    print({"bash": bash, "zsh": zsh, "fish": fish}[given.shell](build_parser()), end="")
    return 0


def add_to(verbs: Verbs) -> None:
    """The word of this command."""
    one = add(verbs, "completion", completion, "print the completion script of a shell; `source <(trackside completion bash)`")
    one.add_argument("shell", choices=SHELLS)
