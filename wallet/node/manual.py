"""What the commands are called, take and do, for who asks the command line: without importing them.

Importing the commands imports the whole core, which takes half a second; their manual stands in their source, and
reading that takes a tenth of it. Where the program carries no source (a package), the commands are imported after all.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from wallet.i18n import _
from wallet.node.api import CommandError, Json

__all__ = ["ManualEntry", "Parameter", "kind_of", "look_up", "manual", "usage_text"]

COMMANDS_FOLDER = Path(__file__).with_name("commands")
DECORATOR = "command"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a command.

    Attributes:
        kind: "str", "int" or "bool".
        required: has no default.
        keyword_only: on the command line, an option rather than a place.
    """

    name: str
    kind: str
    required: bool
    keyword_only: bool
    default: Json


@dataclass(frozen=True, slots=True)
class ManualEntry:
    """A command as the manual has it. Attributes: usage: one line, its name and its arguments."""

    name: str
    usage: str
    help: str


def kind_of(annotation: str) -> str:
    """How text from a command line is read: the kind of an argument, by how it is annotated."""
    return next((name for name in ("bool", "int", "str") if annotation.startswith(name)), "str")


def usage_text(name: str, parameters: Iterable[Parameter]) -> str:
    """One line: the name and its arguments."""
    parts = [name]
    for parameter in parameters:
        if parameter.keyword_only or parameter.kind == "bool":
            value = "" if parameter.kind == "bool" else f" {parameter.kind.upper()}"
            parts.append(f"[--{parameter.name}{value}]")
        else:
            parts.append(parameter.name if parameter.required else f"[{parameter.name}]")
    return " ".join(parts)


def look_up(commands: Mapping[str, T], name: str) -> T:
    """A command by its name; raises `CommandError`."""
    # As options do, commands may be written with dashes.
    found = commands.get(name) or commands.get(name.replace("-", "_"))
    if found is None:
        raise CommandError(
            _("There is no command {name!r}. `leyden help` lists them.").format(name=name[:40]), code="usage"
        )
    return found


def manual(folder: Path = COMMANDS_FOLDER) -> dict[str, ManualEntry]:
    """All commands by their names."""
    files = sorted(folder.glob("*.py"))
    if not files:
        from wallet.node.commands import COMMANDS

        return {name: ManualEntry(name, found.usage(), found.help) for name, found in COMMANDS.items()}
    entries = (entry for file in files for entry in _entries(file.read_text(encoding="utf-8")))
    return {entry.name: entry for entry in entries}


def _entries(source: str) -> Iterable[ManualEntry]:
    for function in ast.parse(source).body:
        if isinstance(function, ast.AsyncFunctionDef) and any(
            isinstance(decorator, ast.Name) and decorator.id == DECORATOR
            for decorator in function.decorator_list
        ):
            name = function.name.removesuffix("_")
            text = inspect.cleandoc(ast.get_docstring(function) or "")
            yield ManualEntry(name, usage_text(name, _parameters(function.args)), text)


def _parameters(arguments: ast.arguments) -> Iterable[Parameter]:
    """Those behind the first, which is the node."""
    without_default = len(arguments.args) - len(arguments.defaults)
    for place, argument in enumerate(arguments.args):
        if place:
            yield _parameter(argument, required=place < without_default, keyword_only=False)
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(argument, required=default is None, keyword_only=True)


def _parameter(argument: ast.arg, *, required: bool, keyword_only: bool) -> Parameter:
    annotation = "" if argument.annotation is None else ast.unparse(argument.annotation)
    return Parameter(argument.arg, kind_of(annotation), required, keyword_only, None)
