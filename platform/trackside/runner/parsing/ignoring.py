"""`.airflowignore`: which files and folders of a DAG folder are passed over.

For `scanning`. A file speaks for its folder and everything below. Two syntaxes: `glob` (as .gitignore, the default)
and `regexp`; the setting DAG_IGNORE_FILE_SYNTAX chooses, a first line `syntax: regexp` (or glob) wins over it.
Comments begin with #. Patterns that cannot be read are passed over with a warning.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

FILE_NAME = ".airflowignore"

_COMMENT = re.compile(r"\s*#.*")
_SYNTAX = re.compile(r"#?\s*syntax:\s*(glob|regexp)\s*$")


@dataclass(slots=True)
class _Rule:
    pattern: re.Pattern[str]
    negated: bool = False
    folders_only: bool = False
    whole: bool = True
    """Globs match the whole path below the ignore file; regular expressions are found anywhere in the path."""


@dataclass(slots=True)
class IgnoreFile:
    """The rules of one `.airflowignore`."""

    base: str
    """Folder it lies in, relative to the DAG folder; "" at the top."""
    rules: list[_Rule] = field(default_factory=list)

    def verdict(self, relative: str, *, folder: bool) -> bool | None:
        """True: ignored; False: kept by a `!` rule; None: nothing said. `relative`: path below the DAG folder."""
        below = relative[len(self.base) + 1 :] if self.base else relative
        said = None
        for rule in self.rules:
            if rule.folders_only and not folder:
                continue
            found = rule.pattern.fullmatch(below) if rule.whole else rule.pattern.search(relative)
            if found:
                said = not rule.negated
        return said


def is_ignored(files: list[IgnoreFile], relative: str, *, folder: bool) -> bool:
    """What the ignore files on the way to `relative`, outermost first, say together: the last word counts."""
    ignored = False
    for file in files:
        said = file.verdict(relative, folder=folder)
        ignored = ignored if said is None else said
    return ignored


def read(text: str, base: str, default_syntax: str = "glob") -> IgnoreFile:
    """The rules of an ignore file's text."""
    lines = text.splitlines()
    syntax = default_syntax
    if lines and (named := _SYNTAX.match(lines[0])):
        syntax, lines = named[1], lines[1:]
    found = IgnoreFile(base)
    for number, line in enumerate(lines, 1):
        content = _COMMENT.sub("", line).strip()
        if not content or content == "/":
            continue
        try:
            found.rules.append(_glob(content) if syntax == "glob" else _Rule(re.compile(content), whole=False))
        except re.error as e:
            place = f"{base or '.'}/{FILE_NAME}, line {number}"
            logger.warning("%s: %r is not a pattern (%s); the line is passed over", place, content, e)
    return found


def _glob(text: str) -> _Rule:
    negated, text = text.startswith("!"), text.removeprefix("!")
    folders_only, text = text.endswith("/"), text.rstrip("/")
    anchored, text = "/" in text, text.lstrip("/")
    expression = translate(text)
    if not anchored:
        expression = f"(?:.*/)?{expression}"
    return _Rule(re.compile(expression, re.DOTALL), negated, folders_only)


def translate(glob: str) -> str:
    """A gitignore glob as a regular expression: `*` and `?` stay within a folder, `**` does not."""
    out, i = "", 0
    while i < len(glob):
        if glob.startswith("**/", i) and (i == 0 or glob[i - 1] == "/"):
            out, i = out + "(?:.*/)?", i + 3
        elif glob.startswith("**", i):
            out, i = out + ".*", i + 2
        elif glob[i] == "*":
            out, i = out + "[^/]*", i + 1
        elif glob[i] == "?":
            out, i = out + "[^/]", i + 1
        elif glob[i] == "[" and (end := glob.find("]", i + 2)) > 0:
            out, i = out + _character_class(glob[i + 1 : end]), end + 1
        elif glob[i] == "\\" and i + 1 < len(glob):
            out, i = out + re.escape(glob[i + 1]), i + 2
        else:
            out, i = out + re.escape(glob[i]), i + 1
    return out


def _character_class(body: str) -> str:
    """What stands between the brackets of a glob. A range that runs backwards matches nothing, as in a shell."""
    negated, body = body[0] in "!^", body.lstrip("!^") if body[0] in "!^" else body
    inside, i = "", 0
    while i < len(body):
        if body[i + 1 : i + 2] == "-" and i + 2 < len(body):
            low, high = body[i], body[i + 2]
            inside += f"{_escaped(low)}-{_escaped(high)}" if low <= high else ""
            i += 3
        else:
            inside, i = inside + _escaped(body[i]), i + 1
    if not inside:
        return "[^/]" if negated else "(?!)"
    return f"(?!/)[{'^' if negated else ''}{inside}]"


def _escaped(character: str) -> str:
    return "\\" + character if character in "\\]^-[&~|" else character
