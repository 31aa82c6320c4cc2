"""Reads the imports of `wallet/` and tells which of them climb over the wall.

The rooms form a list: app > gui > sandbox > node > {ln, onchain} > chain > bitcoin > i18n.
Nothing here is executed: a file is parsed, and every import in it counts, be it at the head, inside a
function, under `TYPE_CHECKING`, or spelt as `importlib.import_module("...")`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

ROOMS: Mapping[str, frozenset[str]] = {
    "wallet": frozenset(),
    "wallet.__main__": frozenset({"wallet.app"}),
    "wallet.app": frozenset({"wallet"}),
    "wallet.single": frozenset(),
    "wallet.gui": frozenset({"wallet.node", "wallet.i18n"}),
    "wallet.sandbox": frozenset(
        {"wallet.node", "wallet.ln", "wallet.onchain", "wallet.chain", "wallet.i18n", "wallet.bitcoin"}
    ),
    "wallet.node": frozenset(
        {"wallet.ln", "wallet.onchain", "wallet.chain", "wallet.i18n", "wallet.bitcoin"}
    ),
    "wallet.ln": frozenset({"wallet.chain.interfaces", "wallet.i18n", "wallet.bitcoin"}),
    "wallet.onchain": frozenset({"wallet.chain.interfaces", "wallet.i18n", "wallet.bitcoin"}),
    "wallet.chain": frozenset({"wallet.i18n", "wallet.bitcoin"}),
    "wallet.i18n": frozenset(),
    "wallet.bitcoin": frozenset({"wallet.i18n"}),
}
"""What each room may import besides itself. `wallet` stands for everything."""

SANS_IO = frozenset(
    {
        "PyQt6", "aiorpcx", "asyncio", "concurrent", "http", "multiprocessing", "os", "pathlib", "queue",
        "random", "sched", "secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver",
        "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib", "uuid",
    }
)  # fmt: skip
"""No clock, thread, file, socket or randomness of their own for the rooms that decide over money."""

BANNED: Mapping[str, frozenset[str]] = {
    "wallet.ln": SANS_IO,
    "wallet.onchain": SANS_IO,
    "wallet.gui": frozenset(
        {
            "PyQt6.QtNetwork", "aiorpcx", "asyncio", "coincurve", "http", "requests", "select", "selectors",
            "socket", "socketserver", "sqlite3", "ssl", "urllib.request", "wallycore",
        }
    ),
    "wallet.bitcoin": frozenset({"PyQt6", "aiorpcx", "asyncio", "socket", "sqlite3", "threading"}),
    "wallet.chain": frozenset({"PyQt6", "sqlite3"}),
    "wallet.node": frozenset({"PyQt6"}),
    "wallet.sandbox": frozenset({"PyQt6"}),
    "wallet.i18n": frozenset({"PyQt6", "aiorpcx", "asyncio", "socket", "sqlite3", "threading"}),
}  # fmt: skip
"""Modules from outside that a room must not import; a name covers its submodules."""


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name: `module` is absolute, and as deep as the source spells it."""

    module: str
    line: int


def _covers(prefix: str, module: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def room_of(module: str) -> str | None:
    """The room a module of ours lives in, or None where the plan has no such room."""
    rooms = [room for room in ROOMS if room != "wallet" and _covers(room, module)]
    if rooms:
        return max(rooms, key=len)
    return "wallet" if module == "wallet" else None


def module_name(path: Path, root: Path) -> str:
    parts = list(path.relative_to(root).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def imports(source: str, module: str, *, is_package: bool) -> Iterator[Import]:
    """Every import of a source text; `from a import b` yields `a.b`, since b may be a module."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(alias.name, node.lineno)
            case ast.ImportFrom(module=name, names=names, level=level):
                base = name or ""
                if level:
                    parents = module.split(".") if is_package else module.split(".")[:-1]
                    parents = parents[: len(parents) - (level - 1)]
                    base = ".".join([*parents, base] if base else parents)
                for alias in names:
                    yield Import(base if alias.name == "*" else f"{base}.{alias.name}", node.lineno)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield Import(name, node.lineno)


def _may_import(room: str, target: str) -> bool:
    if _covers(room, target) and room != "wallet":
        return True
    return any(_covers(allowed, target) for allowed in ROOMS[room])


def violations_in(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Sentences about every import of one module that the plan does not allow."""
    room = room_of(module)
    if room is None:
        return [f"{module}: no such room in the plan of the house"]
    found = []
    for imported in imports(source, module, is_package=is_package):
        name = imported.module
        if _covers("wallet", name) and not _may_import(room, name):
            found.append(f"{module}:{imported.line}: {room} must not import {name}")
        for banned in BANNED.get(room, frozenset()):
            if _covers(banned, name):
                found.append(f"{module}:{imported.line}: {room} must not import {banned}")
    return found


def money_in_qt_ints(source: str, module: str) -> list[str]:
    """Finds signals, slots and fields of Qt's 32-bit int, in which an amount wraps silently."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args) if name in {
                "pyqtSignal",
                "pyqtSlot",
            }:
                # `pyqtSignal([int], [str])` lists overloads.
                flat = [
                    x for arg in args for x in (arg.elts if isinstance(arg, ast.List | ast.Tuple) else [arg])
                ]
                if any(
                    (isinstance(arg, ast.Name) and arg.id == "int")
                    or (isinstance(arg, ast.Constant) and arg.value in {"int", "qint32"})
                    for arg in flat
                ):
                    found.append(f"{module}:{node.lineno}: {name}(int) is 32 bits; say object")
            case ast.Name(id="QSpinBox") | ast.Attribute(attr="QSpinBox") | ast.alias(name="QSpinBox"):
                found.append(f"{module}:{node.lineno}: QSpinBox is 32 bits; use the amount field")
    return found


def blocking_calls(source: str, module: str) -> list[str]:
    """`time.sleep` and dialogs that spin a loop of their own, which freeze a window or nest its events."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="time"), attr="sleep")):
                found.append(f"{module}:{node.lineno}: time.sleep blocks the window")
            case ast.ImportFrom(module="time", names=names) if any(a.name == "sleep" for a in names):
                found.append(f"{module}:{node.lineno}: time.sleep blocks the window")
    return found


def sources(root: Path = ROOT) -> Iterator[tuple[str, str, bool]]:
    """(module name, text, is a package) of every file under `wallet/`."""
    for path in sorted((root / "wallet").rglob("*.py")):
        yield module_name(path, root), path.read_text(encoding="utf-8"), path.name == "__init__.py"
