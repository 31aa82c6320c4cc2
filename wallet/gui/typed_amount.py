"""An amount as a person types it, in the unit that they chose: what it can mean, and what has to be asked about.

A point or a comma parts thousands in one country and decimals in the next. Where only one reading is possible, it is
taken; where there are two, none is: the person is asked. Integers only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wallet.gui import format as fmt
from wallet.i18n import _

__all__ = ["MAX_SAT", "TypedAmount", "as_typed", "read_amount"]

MAX_SAT = 21_000_000 * 100_000_000
DECIMALS = {"sat": 0, "bits": 2, "BTC": 8}
SCALES_SAT = {"sat": 1, "bits": 100, "BTC": 100_000_000}
MOST_DIGITS = 24
_GROUPS = re.compile(r"[1-9][0-9]{0,2}(?:[.,][0-9]{3})+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedAmount:
    """Attributes: `amount_sat`, None where nothing is typed or nothing can be made of it; `problem`, the sentence that
    says so; `readings_sat`, what an ambiguous text can mean, for the person to choose from."""

    amount_sat: int | None = None
    problem: str = ""
    readings_sat: tuple[int, ...] = ()


def as_typed(value_sat: int, unit: str) -> str:
    """An amount as one would type it: no zeros behind, thousands apart by a space, and never ambiguous."""
    decimals = DECIMALS[unit]
    whole, rest = divmod(value_sat, SCALES_SAT[unit])
    digits = f"{rest:0{decimals}d}".rstrip("0") if decimals else ""
    if len(digits) == 3 and whole:
        # "1.234" could be a thousand and more.
        digits += "0"
    return f"{fmt.group(whole)}.{digits}" if digits else fmt.group(whole)


def _as_decimals(text: str, unit: str) -> int | None:
    """The last mark as the decimal one; others before it are of the other kind, and part thousands."""
    place = max(text.rfind("."), text.rfind(","))
    whole, mark, rest = text[:place], text[place], text[place + 1 :]
    if mark in whole:
        return None
    if not whole.isdigit() and whole:
        if _GROUPS.fullmatch(whole) is None:
            return None
        whole = re.sub(r"[.,]", "", whole)
    decimals = DECIMALS[unit]
    rest = rest.rstrip("0")
    if len(rest) > decimals or not (whole or rest):
        return None
    return int(whole or "0") * SCALES_SAT[unit] + int(rest.ljust(decimals, "0") or "0")


def _as_thousands(text: str, unit: str) -> int | None:
    """All marks alike, three digits after each."""
    if _GROUPS.fullmatch(text) is None or len(set(text) & {".", ","}) != 1:
        return None
    return int(re.sub(r"[.,]", "", text)) * SCALES_SAT[unit]


def read_amount(text: str, unit: str) -> TypedAmount:
    """What a person may have meant. Spaces, underscores and apostrophes part thousands wherever they stand."""
    clean = re.sub(r"[\s_']", "", text)
    if not clean:
        return TypedAmount()
    if re.fullmatch(r"[0-9.,]+", clean) is None:
        return TypedAmount(problem=_("Type the amount in digits, in {unit}.").format(unit=unit))
    too_much = TypedAmount(problem=_("There are only 21 million bitcoin. Type a smaller amount."))
    if len(clean) > MOST_DIGITS:
        return too_much
    if clean.isdigit():
        found = {int(clean) * SCALES_SAT[unit]}
    else:
        both = (_as_thousands(clean, unit), _as_decimals(clean, unit))
        found = {value for value in both if value is not None}
    if found and min(found) > MAX_SAT:
        return too_much
    readings = tuple(sorted((value for value in found if value <= MAX_SAT), reverse=True))
    marks = sum(clean.count(mark) for mark in ".,")
    if len(readings) == 2 or (unit == "sat" and marks == 1 and readings):
        # Who types one mark among satoshis may think of another unit: asked about as well.
        return TypedAmount(
            problem=_("A point or a comma can be read in two ways. Which amount is meant?"),
            readings_sat=readings,
        )
    if readings:
        return TypedAmount(amount_sat=readings[0])
    if unit == "sat":
        return TypedAmount(
            problem=_("Type whole satoshis, without a point or a comma. Settings has other units.")
        )
    return TypedAmount(
        problem=_("This is no amount in {unit}: too many digits, or a mark too many.").format(unit=unit)
    )
