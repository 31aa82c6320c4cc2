"""The one set of commands that command line, JSON-RPC and window share: names, parameters, and how they are called.

A command is an async function whose first parameter is the node; its other parameters are its arguments, and their
annotations say how text from a command line is read. Names and fields follow Electrum's command line where the same
thing exists there: amounts named `amount` are in BTC, as decimal text or "!" for all; Leyden's own carry their unit
in the name (`amount_sat`, `amount_msat`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from wallet.bitcoin.amounts import MAX_MONEY_SAT
from wallet.i18n import _
from wallet.node.api import CommandError, Json
from wallet.node.manual import Parameter, kind_of, look_up, usage_text

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = [
    "COMMANDS",
    "EVERYTHING",
    "Command",
    "Parameter",
    "btc_text",
    "btc_text_msat",
    "by_place",
    "command",
    "find_command",
    "from_words",
    "run",
    "sat_from_btc",
]

CommandFunction: TypeAlias = Callable[..., Awaitable[Json]]
SAT_PER_BTC = 100_000_000
BTC_DECIMALS = 8
EVERYTHING = "!"
MAX_INT = 2**63 - 1
"""No amount, height or time comes near; what is stored fits its field."""
MAX_TEXT = 1_000_000
_INT_TEXT = re.compile(r"-?[0-9]{1,19}")
_BTC_TEXT = re.compile(r"([0-9]{0,12})(?:\.([0-9]{0,30}))?")


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    function: CommandFunction
    help: str
    parameters: tuple[Parameter, ...]

    def usage(self) -> str:
        """One line: the name and its arguments."""
        return usage_text(self.name, self.parameters)


COMMANDS: dict[str, Command] = {}


def command(function: CommandFunction) -> CommandFunction:
    """Adds a function to the set, under its own name without a trailing underscore."""
    parameters = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        required = parameter.default is inspect.Parameter.empty
        parameters.append(
            Parameter(
                name=parameter.name,
                kind=kind_of(str(parameter.annotation)),
                required=required,
                keyword_only=parameter.kind is inspect.Parameter.KEYWORD_ONLY,
                default=None if required else parameter.default,
            )
        )
    name = function.__name__.removesuffix("_")
    COMMANDS[name] = Command(name, function, inspect.getdoc(function) or "", tuple(parameters))
    return function


def find_command(name: str) -> Command:
    """A command by its name; raises `CommandError`."""
    return look_up(COMMANDS, name)


def from_words(found: Command, words: Sequence[str]) -> dict[str, Json]:
    """Arguments as a command line has them: options are `--name value` or `--name=value`, the rest goes by place,
    and after `--` everything does. Raises `CommandError`."""
    named = {parameter.name: parameter for parameter in found.parameters}
    arguments: dict[str, Json] = {}
    places: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            places += waiting
            break
        if not word.startswith("--"):
            places.append(word)
            continue
        key, equals, value = word[2:].partition("=")
        parameter = named.get(key.replace("-", "_"))
        if parameter is None:
            raise _misused(
                found, _("{name} has no option {option}.").format(name=found.name, option=word[:40])
            )
        if parameter.name in arguments:
            raise _misused(found, _("{option} is said twice.").format(option=word[:40]))
        if equals:
            arguments[parameter.name] = value
        elif parameter.kind == "bool":
            arguments[parameter.name] = True
        elif waiting:
            arguments[parameter.name] = waiting.pop(0)
        else:
            raise _misused(found, _("{option} wants a value.").format(option=word[:40]))
    arguments.update(_placed(found, places, arguments))
    return arguments


def by_place(found: Command, values: Sequence[Json]) -> dict[str, Json]:
    """Arguments as a JSON-RPC list has them; raises `CommandError`."""
    return _placed(found, values, {})


def _placed(found: Command, values: Sequence[Json], given: Mapping[str, Json]) -> dict[str, Json]:
    places = [p.name for p in found.parameters if not p.keyword_only and p.name not in given]
    if len(values) > len(places):
        raise _misused(
            found,
            _("{name} takes no more than {count} values, and {given} were given.").format(
                name=found.name, count=len(places), given=len(values)
            ),
        )
    return dict(zip(places, values, strict=False))


def _misused(found: Command, what: str) -> CommandError:
    return CommandError(
        _("{what} It is used so: {usage}").format(what=what, usage=found.usage()), code="usage"
    )


async def run(node: Node, name: str, arguments: Mapping[str, Json]) -> Json:
    """Runs a command; raises `CommandError`, and nothing else, for whatever the caller did wrong."""
    found = find_command(name)
    known = {parameter.name: parameter for parameter in found.parameters}
    for argument in arguments:
        if argument not in known:
            raise _misused(
                found,
                _("{name} takes no argument {argument!r}.").format(name=name, argument=str(argument)[:40]),
            )
    values = {key: _checked(known[key], value) for key, value in arguments.items() if value is not None}
    for parameter in found.parameters:
        if parameter.required and parameter.name not in values:
            raise _misused(found, _("{name} needs {argument}.").format(name=name, argument=parameter.name))
    if node.failure:
        raise CommandError(node.failure, code="file")
    return await found.function(node, **values)


def _checked(parameter: Parameter, value: Json) -> Json:
    """A value of the parameter's kind; text is read, because command lines have only text."""
    wrong = CommandError(
        _("{name} is to be a {kind}, not {value!r}.").format(
            name=parameter.name,
            kind={"int": _("whole number"), "bool": _("yes or no"), "str": _("text")}[parameter.kind],
            value=str(value)[:40],
        ),
        code="usage",
    )
    if parameter.kind == "int":
        if isinstance(value, str) and _INT_TEXT.fullmatch(value.strip()):
            # `strip` takes more off than `int` puts up with.
            value = int(value.strip())
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong
        if not -MAX_INT <= value <= MAX_INT:
            raise CommandError(
                _("{name} is out of all proportion: {value}.").format(
                    name=parameter.name, value=str(value)[:40]
                ),
                code="usage",
            )
        return value
    if parameter.kind == "bool":
        if isinstance(value, bool):
            return value
        if value in ("true", "True", "1", "yes"):
            return True
        if value in ("false", "False", "0", "no"):
            return False
        raise wrong
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise wrong
    # Half a character (a lone surrogate) can be typed and sent as JSON, and can be written nowhere.
    if len(value) > MAX_TEXT or (not value.isprintable() and any("\ud800" <= c <= "\udfff" for c in value)):
        raise CommandError(
            _("{name} is not a text that can be used: it is too long, or has broken characters.").format(
                name=parameter.name
            ),
            code="usage",
        )
    return value


def sat_from_btc(text: str, *, what: str) -> int:
    """Satoshis of an amount in BTC; raises `CommandError`."""
    found = _BTC_TEXT.fullmatch(text.strip())
    whole, decimals = ("", "") if found is None else (found[1] or "", found[2] or "")
    if not whole and not decimals:
        raise CommandError(
            _("{what} is an amount in BTC, such as 0.001, not {text!r}.").format(what=what, text=text[:40]),
            code="amount",
        )
    if decimals[BTC_DECIMALS:].strip("0"):
        raise CommandError(
            _("{what} has more than eight decimals: the smallest amount is 0.00000001 BTC.").format(
                what=what
            ),
            code="amount",
        )
    amount_sat = int(whole or "0") * SAT_PER_BTC + int(decimals[:BTC_DECIMALS].ljust(BTC_DECIMALS, "0"))
    if not 0 < amount_sat <= MAX_MONEY_SAT:
        raise CommandError(
            _("{what} has to be more than nothing, and at most 21 million BTC.").format(what=what),
            code="amount",
        )
    return amount_sat


def btc_text(amount_sat: int) -> str:
    """An amount in BTC as Electrum writes it: no needless zeros, but one decimal at least."""
    sign = "-" if amount_sat < 0 else ""
    whole, rest = divmod(abs(amount_sat), SAT_PER_BTC)
    decimals = f"{rest:08d}".rstrip("0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}."


def btc_text_msat(amount_msat: int) -> str:
    """As `btc_text`, with the millisatoshis where there are any."""
    sign = "-" if amount_msat < 0 else ""
    whole, rest = divmod(abs(amount_msat), SAT_PER_BTC * 1000)
    decimals = f"{rest:011d}".rstrip("0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}."
