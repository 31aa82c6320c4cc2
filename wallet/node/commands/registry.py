"""The one set of commands that command line, JSON-RPC and window share: names, parameters, and how they are called.

A command is an async function whose first parameter is the node; its other parameters are its arguments, and their
annotations say how text from a command line is read. Names and fields follow Electrum's command line where the same
thing exists there: amounts named `amount` are in BTC, as decimal text or "!" for all; Leyden's own carry their unit
in the name (`amount_sat`, `amount_msat`).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, TypeAlias

from wallet.bitcoin.amounts import MAX_MONEY_SAT
from wallet.i18n import _
from wallet.node.api import CommandError, Json

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["COMMANDS", "Command", "Parameter", "command", "run", "sat_from_btc"]

CommandFunction: TypeAlias = Callable[..., Awaitable[Json]]
SAT_PER_BTC = 100_000_000
EVERYTHING = "!"


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
class Command:
    name: str
    function: CommandFunction
    help: str
    parameters: tuple[Parameter, ...]

    def usage(self) -> str:
        """One line: the name and its arguments."""
        parts = [self.name]
        for parameter in self.parameters:
            if parameter.keyword_only or parameter.kind == "bool":
                option = f"--{parameter.name}" + (
                    "" if parameter.kind == "bool" else f" {parameter.kind.upper()}"
                )
                parts.append(f"[{option}]")
            else:
                parts.append(parameter.name if parameter.required else f"[{parameter.name}]")
        return " ".join(parts)


COMMANDS: dict[str, Command] = {}


def command(function: CommandFunction) -> CommandFunction:
    """Adds a function to the set, under its own name without a trailing underscore."""
    parameters = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        annotation = str(parameter.annotation)
        kind = next((name for name in ("bool", "int", "str") if annotation.startswith(name)), "str")
        required = parameter.default is inspect.Parameter.empty
        parameters.append(
            Parameter(
                name=parameter.name,
                kind=kind,
                required=required,
                keyword_only=parameter.kind is inspect.Parameter.KEYWORD_ONLY,
                default=None if required else parameter.default,
            )
        )
    name = function.__name__.removesuffix("_")
    COMMANDS[name] = Command(name, function, inspect.getdoc(function) or "", tuple(parameters))
    return function


async def run(node: Node, name: str, arguments: Mapping[str, Json]) -> Json:
    """Runs a command; raises `CommandError`, and nothing else, for whatever the caller did wrong."""
    found = COMMANDS.get(name)
    if found is None:
        raise CommandError(
            _("There is no command {name!r}. `leyden help` lists them.").format(name=name), code="usage"
        )
    known = {parameter.name: parameter for parameter in found.parameters}
    for argument in arguments:
        if argument not in known:
            raise CommandError(
                _("{name} takes no argument {argument!r}. It is used so: {usage}").format(
                    name=name, argument=argument, usage=found.usage()
                ),
                code="usage",
            )
    values = {key: _checked(known[key], value) for key, value in arguments.items() if value is not None}
    for parameter in found.parameters:
        if parameter.required and parameter.name not in values:
            raise CommandError(
                _("{name} needs {argument}. It is used so: {usage}").format(
                    name=name, argument=parameter.name, usage=found.usage()
                ),
                code="usage",
            )
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
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise wrong
        try:
            return int(value)
        except ValueError:
            raise wrong from None
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
    return value


def sat_from_btc(text: str, *, what: str) -> int:
    """Satoshis of an amount in BTC; raises `CommandError`."""
    try:
        amount = Decimal(text)
        if not amount.is_finite():
            raise InvalidOperation
        amount_sat = amount * SAT_PER_BTC
    except (InvalidOperation, ValueError):
        raise CommandError(
            _("{what} is an amount in BTC, such as 0.001, not {text!r}.").format(what=what, text=text[:40]),
            code="amount",
        ) from None
    if amount_sat != amount_sat.to_integral_value():
        raise CommandError(
            _("{what} has more than eight decimals: the smallest amount is 0.00000001 BTC.").format(
                what=what
            ),
            code="amount",
        )
    if not 0 < amount_sat <= MAX_MONEY_SAT:
        raise CommandError(
            _("{what} has to be more than nothing, and at most 21 million BTC.").format(what=what),
            code="amount",
        )
    return int(amount_sat)


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
