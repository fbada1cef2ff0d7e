"""One file: what must change, and its text with the changes made. LibCST keeps everything else to the character.

For `command`. Nothing is rewritten that would lose a comment or that depends on what the author meant; such places are
only named. Next door: `imports` does import statements, `rules` has the tables.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import libcst as cst
from libcst import matchers as m
from libcst.metadata import MetadataWrapper, PositionProvider

from trackside.cli.airflow2 import rules
from trackside.cli.airflow2.imports import Imports

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_WORD = re.compile(r"(?<![\w.'\"])([a-z_]+)\b")
_RUN_NAMES = ("dag_run", "dr", "run")


@dataclass(slots=True, frozen=True)
class Finding:
    """One place. `level`: error (does not work on Airflow 3), warning (works otherwise than before), note."""

    line: int
    level: str
    message: str
    fixed: bool = False


@dataclass(slots=True)
class Migrated:
    """What became of a file."""

    before: str
    after: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def open(self) -> list[Finding]:
        """What a person must do: errors that were not rewritten."""
        return [finding for finding in self.findings if finding.level == "error" and not finding.fixed]


class NotPython(ValueError):
    """The file is no Python this version can read; the message names the line."""


def migrate(text: str) -> Migrated:
    """Read a file's text. Raises NotPython."""
    try:
        wrapper = MetadataWrapper(cst.parse_module(text))
    except cst.ParserSyntaxError as error:
        raise NotPython(f"line {error.raw_line}: {error.message}") from None
    imports = Imports()
    wrapper.visit(imports)
    rewriter = _Rewriter(imports)
    after = wrapper.visit(rewriter).code
    if comments(text) - comments(after):  # never: what is removed is looked at first
        raise AssertionError(f"a comment would be lost: {comments(text) - comments(after)}")
    found = sorted({*rewriter.findings}, key=lambda f: (f.line, f.message))
    return Migrated(text, after, found)


def comments(text: str) -> Counter[str]:
    """All comments of a file."""
    return Counter(t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT)


class _Rewriter(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, imports: Imports) -> None:
        super().__init__()
        self.imports = imports
        self.findings: list[Finding] = []
        self._days_ago = False

    def _say(self, node: cst.CSTNode, message: str, *, level: str = "error", fixed: bool = False) -> None:
        line = self.get_metadata(PositionProvider, node).start.line  # type: ignore[attr-defined]
        self.findings.append(Finding(line, level, message, fixed))

    # Imports --------------------------------------------------------------------------------------------------------
    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        return False  # the statement is rewritten as a whole

    def leave_SimpleStatementLine(self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine) -> Any:
        new, found = self.imports.rewrite(original_node, updated_node)
        for message, fixed in found:
            self._say(original_node, message, fixed=fixed)
        return new

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        if not self._days_ago or self.imports.binds("pendulum"):
            return updated_node
        line = cst.parse_statement("import pendulum\n")
        body = list(updated_node.body)
        at = next((i for i, s in enumerate(body) if _is_import(s) and not _is_future(s)), len(body))
        return updated_node.with_changes(body=[*body[:at], line, *body[at:]])

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        if (new := self.imports.renames.get(original_node.value)) is not None and original_node not in self.imports.own_names:
            return updated_node.with_changes(value=new)
        return updated_node

    # Calls ----------------------------------------------------------------------------------------------------------
    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        name = _last_name(original_node.func)
        if name == "days_ago" and self.imports.comes_from("days_ago", "airflow.utils.dates"):
            return self._days(original_node, updated_node)
        is_dag = name in ("DAG", "dag")
        named = any(m.matches(arg, m.Arg(keyword=m.Name("task_id"))) for arg in original_node.args)
        is_task = named or self._is_task_decorator(original_node)
        if name == "xcom_pull" and not any(arg.keyword is None or arg.keyword.value == "task_ids" for arg in original_node.args):
            self._say(original_node, "xcom_pull without task_ids reads the task's own XComs in Airflow 3; name the task", level="warning")
        if name == "cli" and not original_node.args and isinstance(original_node.func, cst.Attribute):
            self._say(original_node, "DAG.cli() is gone; write `dag.test()`, or use the command `trackside`")
        if is_dag:
            self._defaults(original_node)
        renamed = rules.DAG_ARGUMENTS if is_dag else rules.TASK_ARGUMENTS if is_task else {}
        removed = rules.DAG_REMOVED if is_dag else rules.TASK_REMOVED if is_task else {}
        renamed = {**renamed, **rules.CALL_ARGUMENTS.get(name, {})}
        args = self._arguments(original_node, updated_node, renamed, removed, name)
        return updated_node if args is None else updated_node.with_changes(args=args)

    def _arguments(
        self, original: cst.Call, updated: cst.Call, renamed: dict[str, str], removed: dict[str, str], name: str
    ) -> list[cst.Arg] | None:
        """The arguments as Airflow 3 wants them; None if nothing changes."""
        present = {arg.keyword.value for arg in original.args if arg.keyword is not None}
        args: list[cst.Arg] = []
        changed = False
        for before, arg in zip(original.args, updated.args, strict=True):
            key = before.keyword.value if before.keyword is not None else ""
            if key in renamed:
                clash = renamed[key] in present
                self._say(before, f"the argument {key} of {name} is called {renamed[key]} now", fixed=not clash)
                if not clash:
                    arg, changed = arg.with_changes(keyword=cst.Name(renamed[key])), True
            elif key in removed:
                safe = "#" not in cst.Module([]).code_for_node(before)
                self._say(before, f"{name} has no argument {key} any more: {removed[key]}", fixed=safe)
                if safe:
                    changed = True
                    continue
            elif key == "trigger_rule" and isinstance(before.value, cst.SimpleString):
                old = str(before.value.evaluated_value)
                if old in rules.TRIGGER_RULES:
                    self._say(before, f"the trigger rule {old} is called {rules.TRIGGER_RULES[old]} now", fixed=True)
                    arg, changed = arg.with_changes(value=cst.SimpleString(f'"{rules.TRIGGER_RULES[old]}"')), True
            args.append(arg)
        if changed and args and len(args) < len(original.args) and args[-1].comma is not cst.MaybeSentinel.DEFAULT:
            args[-1] = _closing(args[-1], original)
        return args if changed else None

    def _is_task_decorator(self, call: cst.Call) -> bool:
        text = cst.Module([]).code_for_node(call.func)
        return text == "task" or text.startswith("task.")

    def _defaults(self, call: cst.Call) -> None:
        """What changed its default: named once, at the DAG."""
        given = {arg.keyword.value: arg.value for arg in call.args if arg.keyword is not None}
        schedule = given.get("schedule") or given.get("schedule_interval")
        none = isinstance(schedule, cst.Name) and schedule.value == "None"
        if schedule is None and len(call.args) and given.get("timetable") is None:
            self._say(call, "a DAG without schedule ran daily in Airflow 2; now it runs only when triggered", level="warning")
        if schedule is not None and not none and "catchup" not in given:
            text = "catchup is False now unless it is said; write catchup=True if the runs of the past are wanted"
            self._say(call, text, level="warning")
        if isinstance(schedule, cst.SimpleString) and str(schedule.evaluated_value) not in ("@once", "@continuous"):
            text = (
                "a cron schedule's logical date is now the moment of the run and its data interval is empty; for Airflow 2's meaning write "
                f"schedule=CronDataIntervalTimetable({schedule.value}, timezone=…) or set TRACKSIDE_CREATE_CRON_DATA_INTERVALS=true"
            )
            self._say(call, text, level="note")

    def _days(self, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
        if len(original.args) != 1 or (original.args[0].keyword not in (None,) and original.args[0].keyword.value != "n"):
            self._say(original, "days_ago is gone; write pendulum.today('UTC').add(days=-n, hour=…)")
            return updated
        self._days_ago = True
        number = cst.Module([]).code_for_node(original.args[0].value)
        self._say(original, "days_ago is gone; pendulum.today('UTC').add(days=-n) is the same, a fixed date would be better", fixed=True)
        wrapped = number if re.fullmatch(r"\w+", number) else f"({number})"
        return cst.parse_expression(f'pendulum.today("UTC").add(days=-{wrapped})')

    # Context --------------------------------------------------------------------------------------------------------
    def leave_Subscript(self, original_node: cst.Subscript, updated_node: cst.Subscript) -> cst.BaseExpression:
        if not m.matches(original_node, m.Subscript(value=m.Name("context") | m.Name("kwargs") | m.Name("ctx"))):
            return updated_node
        found = m.extract(original_node, m.Subscript(slice=[m.SubscriptElement(m.Index(m.SaveMatchedNode(m.SimpleString(), "key")))]))
        if not found:
            return updated_node
        node = found["key"]
        assert isinstance(node, cst.SimpleString)
        key = str(node.evaluated_value)
        if key in rules.CONTEXT and rules.CONTEXT[key] != key:
            self._say(original_node, f"the context has no {key} any more; it is {rules.CONTEXT[key]}", fixed=True)
            return updated_node.deep_replace(_inner(updated_node), cst.SimpleString(node.value.replace(key, rules.CONTEXT[key])))  # type: ignore[return-value]
        if key in rules.TEMPLATES:
            self._say(original_node, f"the context has no {key} any more; as a template it is {{{{ {rules.TEMPLATES[key]} }}}}")
        return updated_node

    def visit_Param(self, node: cst.Param) -> None:
        name = node.name.value
        if name == "execution_date":
            self._say(node, "tasks get no execution_date any more; name the argument logical_date")
        elif name in rules.TEMPLATES:
            self._say(node, f"tasks get no {name} any more; as a template it is {{{{ {rules.TEMPLATES[name]} }}}}")

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.BaseExpression:
        name = original_node.attr.value
        if name in rules.RULE_CONSTANTS and _last_name(original_node.value) == "TriggerRule":
            self._say(original_node, f"TriggerRule.{name} is called {rules.RULE_CONSTANTS[name]} now", fixed=True)
            return updated_node.with_changes(attr=cst.Name(rules.RULE_CONSTANTS[name]))
        if name != "execution_date":
            return updated_node
        owner = _last_name(original_node.value)
        if owner in _RUN_NAMES:
            self._say(original_node, f"{owner}.execution_date is logical_date now", fixed=True)
            return updated_node.with_changes(attr=cst.Name("logical_date"))
        self._say(original_node, f"{owner}.execution_date is gone; a run has logical_date (`ti.dag_run.logical_date`)")
        return updated_node

    def leave_SimpleString(self, original_node: cst.SimpleString, updated_node: cst.SimpleString) -> cst.BaseExpression:
        if "{{" not in original_node.value and "{%" not in original_node.value:
            return updated_node
        text = _JINJA.sub(lambda part: self._template(original_node, part.group()), original_node.value)
        return updated_node.with_changes(value=text) if text != original_node.value else updated_node

    def _template(self, node: cst.CSTNode, part: str) -> str:
        part, runs = re.subn(r"\bdag_run\.execution_date\b", "dag_run.logical_date", part)
        if runs:
            self._say(node, "dag_run.execution_date is logical_date now", fixed=True)

        def word(found: re.Match[str]) -> str:
            name = found[1]
            if name in rules.CONTEXT and rules.CONTEXT[name] != name:
                self._say(node, f"templates have no {name} any more; it is {rules.CONTEXT[name]}", fixed=True)
                return rules.CONTEXT[name]
            if name in rules.TEMPLATES:
                self._say(node, f"templates have no {name} any more; write {{{{ {rules.TEMPLATES[name]} }}}}")
            return name

        return _WORD.sub(word, part)

    # default_args ---------------------------------------------------------------------------------------------------
    def leave_Dict(self, original_node: cst.Dict, updated_node: cst.Dict) -> cst.BaseExpression:
        keys = {_key(element) for element in original_node.elements}
        if not keys & {"owner", "retries", "retry_delay", "start_date", "depends_on_past", "email_on_failure"}:
            return updated_node
        elements: list[cst.BaseDictElement] = []
        for before, element in zip(original_node.elements, updated_node.elements, strict=True):
            key = _key(before)
            if key in rules.TASK_REMOVED:
                safe = "#" not in cst.Module([]).code_for_node(before)
                self._say(before, f"default_args: no task has {key} any more: {rules.TASK_REMOVED[key]}", fixed=safe)
                if safe:
                    continue
            elif key in rules.TASK_ARGUMENTS:
                self._say(before, f"default_args: {key} is called {rules.TASK_ARGUMENTS[key]} now", fixed=True)
                element = element.with_changes(key=cst.SimpleString(f'"{rules.TASK_ARGUMENTS[key]}"'))
            elements.append(element)
        return updated_node.with_changes(elements=elements)

    def leave_Decorator(self, original_node: cst.Decorator, updated_node: cst.Decorator) -> Any:
        if _last_name(original_node.decorator) != "apply_defaults":
            return updated_node
        safe = "#" not in cst.Module([]).code_for_node(original_node)
        self._say(original_node, "apply_defaults is gone: every operator gets its defaults", fixed=safe)
        return cst.RemoveFromParent() if safe else updated_node


def _last_name(node: cst.BaseExpression) -> str:
    if isinstance(node, cst.Call):
        return _last_name(node.func)
    if isinstance(node, cst.Subscript):  # kwargs["dag_run"]
        inner = _inner(node)
        return str(inner.evaluated_value) if isinstance(inner, cst.SimpleString) else ""
    return node.attr.value if isinstance(node, cst.Attribute) else node.value if isinstance(node, cst.Name) else ""


def _key(element: cst.BaseDictElement) -> str:
    """The key of a dict's element, if it is plain text."""
    if isinstance(element, cst.DictElement) and isinstance(element.key, cst.SimpleString):
        return str(element.key.evaluated_value)
    return ""


def _inner(node: cst.Subscript) -> cst.CSTNode:
    element = node.slice[0].slice
    return element.value if isinstance(element, cst.Index) else element


def _closing(last: cst.Arg, original: cst.Call) -> cst.Arg:
    """The last argument that stays ends as the last one did: with or without a comma, before the same line break."""
    end = original.args[-1]
    if "#" in cst.Module([]).code_for_node(last):
        return last
    return last.with_changes(comma=end.comma, whitespace_after_arg=end.whitespace_after_arg)


def _is_import(statement: cst.CSTNode) -> bool:
    return m.matches(statement, m.SimpleStatementLine(body=[m.Import() | m.ImportFrom(), m.ZeroOrMore()]))


def _is_future(statement: cst.CSTNode) -> bool:
    return m.matches(statement, m.SimpleStatementLine(body=[m.ImportFrom(module=m.Name("__future__"))]))


__all__: Sequence[str] = ("Finding", "Migrated", "NotPython", "comments", "migrate")
