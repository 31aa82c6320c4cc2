"""Amounts, times, ids and other people's text as the window shows them.

Numbers read the same in every language: a thin no-break space between thousands, a point before decimals, a
true minus. Everything here is integer arithmetic: no float comes near an amount. `style` holds what the
user chose.
"""

from __future__ import annotations

import re
import time
import unicodedata
from dataclasses import dataclass

from wallet.i18n import _, ngettext
from wallet.node.api import FiatView

__all__ = [
    "AmountStyle", "ago", "amount", "blocks_ahead", "blocks_long", "date", "date_time", "fee_with_share", "foreign",
    "group", "msat_exact", "node_name", "number", "plain", "public_sat", "seconds_ahead", "seconds_long", "short_id",
    "signed", "style", "unit", "window_title",
]  # fmt: skip

THIN = "\u202f"
MINUS = "\u2212"
HIDDEN = "\u2022" * 6
ELLIPSIS = "\u2026"
MSAT_PER_BTC = 100_000_000_000
SECONDS_PER_BLOCK = 600


@dataclass(slots=True)
class AmountStyle:
    """How amounts are written: unit "sat", "bits" or "BTC", or hidden behind six dots; `fiat`, the rate for what
    follows them, where the person wants that."""

    unit: str = "sat"
    hidden: bool = False
    fiat: FiatView | None = None


style = AmountStyle()
UNITS = ("sat", "bits", "BTC")


def group(value: int) -> str:
    """1234567 as "1 234 567", with thin no-break spaces and a true minus."""
    digits = f"{abs(value):,}".replace(",", THIN)
    return f"{MINUS}{digits}" if value < 0 else digits


def _btc(value_sat: int) -> str:
    whole, rest_sat = divmod(abs(value_sat), 100_000_000)
    digits = f"{rest_sat:08d}"
    text = f"{group(whole)}.{digits[:2]}{THIN}{digits[2:5]}{THIN}{digits[5:]}"
    return f"{MINUS}{text}" if value_sat < 0 else text


def _bits(value_sat: int) -> str:
    whole, rest_sat = divmod(abs(value_sat), 100)
    text = f"{group(whole)}.{rest_sat:02d}"
    return f"{MINUS}{text}" if value_sat < 0 else text


def unit() -> str:
    return style.unit


def number(value_msat: int) -> str:
    """The amount without its unit, in whole satoshis (towards zero)."""
    if style.hidden:
        return HIDDEN
    return _in_unit(abs(value_msat) // 1000 * (-1 if value_msat < 0 else 1))


def public_sat(value_sat: int) -> str:
    """An amount that everybody knows, as a channel's capacity on the map: never hidden, not by `retold` either."""
    return f"{_in_unit(value_sat)}{THIN}{style.unit}"


def _in_unit(value_sat: int) -> str:
    match style.unit:
        case "BTC":
            return _btc(value_sat)
        case "bits":
            return _bits(value_sat)
        case _:
            return group(value_sat)


def in_fiat(value_msat: int, *, rate_hundredths: int | None = None) -> str:
    """What an amount is worth in the person's money, "≈ 12.34 EUR", rounded to the nearest hundredth; empty where
    nothing is known. `rate_hundredths`: of another day than today."""
    view = style.fiat
    rate = (
        rate_hundredths if rate_hundredths is not None else (view.rate_hundredths if view is not None else 0)
    )
    if view is None or rate <= 0 or style.hidden:
        return ""
    return f"≈\u00a0{worth((abs(value_msat) * rate + MSAT_PER_BTC // 2) // MSAT_PER_BTC, view.currency)}"


def in_fiat_then(value_msat: int, moment_at: int) -> str:
    """What it was worth on its day, where that day's rate was kept."""
    day = time.strftime("%Y-%m-%d", time.gmtime(moment_at))
    rate = style.fiat.days.get(day, 0) if style.fiat is not None else 0
    return in_fiat(value_msat, rate_hundredths=rate)


def worth(value_hundredths: int, currency: str) -> str:
    """An amount of the person's money: "61 234.56 EUR"."""
    return f"{group(value_hundredths // 100)}.{value_hundredths % 100:02d}\u00a0{currency}"


def amount(value_msat: int) -> str:
    return f"{number(value_msat)}\u00a0{style.unit}"


def with_fiat(value_msat: int) -> str:
    """An amount, and behind it what it is worth, where that was chosen: for lines of text."""
    fiat = in_fiat(value_msat)
    return f"{amount(value_msat)} ({fiat})" if fiat else amount(value_msat)


def amount_sat(value_sat: int) -> str:
    return amount(value_sat * 1000)


def number_sat(value_sat: int) -> str:
    return number(value_sat * 1000)


def retold(sentence: str) -> str:
    """A sentence of the node's, whose amounts are in satoshis, in the person's unit, or with its amounts hidden.

    Thousandths of a satoshi stay as they are: they are told where they matter.
    """
    return _NODES_AMOUNT.sub(_retold_amount, sentence) if "\u00a0sat" in sentence else sentence


_NODES_AMOUNT = re.compile(rf"({MINUS}?)(\d{{1,3}}(?:{THIN}\d{{3}})*)(\.\d{{3}})?\u00a0sat\b")


def _retold_amount(found: re.Match[str]) -> str:
    sign, digits, thousandths = found.groups()
    if style.hidden:
        return f"{HIDDEN}\u00a0{style.unit}"
    if thousandths or style.unit == "sat":
        return found[0]
    return f"{sign}{_in_unit(int(digits.replace(THIN, '')))}\u00a0{style.unit}"


def signed(value_msat: int) -> str:
    """With `+` for what came in and a true minus for what went out."""
    return f"+{number(value_msat)}" if value_msat > 0 else number(value_msat)


def msat_exact(value_msat: int) -> str:
    """For details only: thousandths of a satoshi where there are any, "12.345 sat"."""
    if style.hidden:
        return f"{HIDDEN}\u00a0sat"
    whole, thousandths = divmod(abs(value_msat), 1000)
    sign = MINUS if value_msat < 0 else ""
    tail = f".{thousandths:03d}" if thousandths else ""
    return f"{sign}{group(whole)}{tail}\u00a0sat"


def fee_with_share(fee_msat: int, of_msat: int) -> str:
    """A fee and what part of the amount it is: "12 sat (0.06 %)"."""
    shown = msat_exact(fee_msat) if 0 < fee_msat < 1000 else amount(fee_msat)
    if style.hidden or of_msat <= 0 or fee_msat <= 0:
        return shown
    hundredths = (fee_msat * 10_000 + of_msat // 2) // of_msat
    if hundredths == 0:
        return _("{fee} (under 0.01 %)").format(fee=shown)
    return f"{shown} ({hundredths // 100}.{hundredths % 100:02d}\u00a0%)"


def short_id(text: str) -> str:
    """The first and the last 8 characters of an id."""
    return text if len(text) <= 19 else f"{text[:8]}{ELLIPSIS}{text[-8:]}"


def plain(text: str, limit: int = 120) -> str:
    """Other people's text, or the node's: one line, no control or direction characters, cut short. Amounts of the
    node's stay as `retold` reads them."""
    text = text[: limit * 4]
    amounts = {place for found in _NODES_AMOUNT.finditer(text) for place in range(*found.span())}
    kept = []
    for place, char in enumerate(text):
        category = unicodedata.category(char)
        if place in amounts:
            kept.append(char)
        elif char.isspace():
            kept.append(" ")
        elif category in {"Cc", "Cf", "Cs", "Co", "Cn"}:
            continue
        else:
            kept.append(char)
    line = " ".join(word for word in "".join(kept).split(" ") if word)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + ELLIPSIS


def foreign(text: str, limit: int = 120) -> str:
    """What others wrote, and nothing of the node's: an amount in it is theirs, which is told as they wrote it."""
    return plain(text.replace("\u00a0", " "), limit)


def window_title(text: str) -> str:
    """Qt keeps "[*]" for its mark of what is not saved; two of them are one that is shown."""
    return plain(text, 200).replace("[*]", "[*][*]")


own_names: dict[str, str] = {}
"""Node ids to names of one's own, which come before what nodes call themselves."""


def node_name(alias: str, node_id: str) -> str:
    return own_names.get(node_id) or foreign(alias, 40) or _("Unnamed {start}").format(start=node_id[:8])


def seconds_long(seconds: int) -> str:
    """A length of time in the largest unit that says enough: "about 14 hours"."""
    if seconds < 90:
        return _("about a minute")
    minutes = (seconds + 30) // 60
    if 55 <= minutes < 90:
        return _("about an hour")
    if minutes < 90:
        return ngettext("about {n} minute", "about {n} minutes", minutes).format(n=minutes)
    hours = (seconds + 1800) // 3600
    if hours < 48:
        return ngettext("about {n} hour", "about {n} hours", hours).format(n=hours)
    days = (seconds + 43_200) // 86_400
    return ngettext("about {n} day", "about {n} days", days).format(n=days)


def seconds_ahead(seconds: int) -> str:
    """The same length of time, as what is still to come: in some languages its words change behind "in"."""
    if seconds < 90:
        return _("in about a minute")
    minutes = (seconds + 30) // 60
    if 55 <= minutes < 90:
        return _("in about an hour")
    if minutes < 90:
        return ngettext("in about {n} minute", "in about {n} minutes", minutes).format(n=minutes)
    hours = (seconds + 1800) // 3600
    if hours < 48:
        return ngettext("in about {n} hour", "in about {n} hours", hours).format(n=hours)
    days = (seconds + 43_200) // 86_400
    return ngettext("in about {n} day", "in about {n} days", days).format(n=days)


def blocks_ahead(blocks: int) -> str:
    """As `blocks_long`, still to come: "in about 14 hours (84 blocks)"."""
    count = ngettext("{n} block", "{n} blocks", blocks).format(n=group(blocks))
    return f"{seconds_ahead(blocks * SECONDS_PER_BLOCK)} ({count})"


def blocks_long(blocks: int) -> str:
    """Time first, blocks second: "about 14 hours (84 blocks)"."""
    count = ngettext("{n} block", "{n} blocks", blocks).format(n=group(blocks))
    return f"{seconds_long(blocks * SECONDS_PER_BLOCK)} ({count})"


def now() -> int:
    return int(time.time())


def date(moment_at: int) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(moment_at))


def date_time(moment_at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment_at))


def ago(moment_at: int, *, now_at: int | None = None) -> str:
    """ "3 minutes ago" for a day, then the date."""
    passed_seconds = (now() if now_at is None else now_at) - moment_at
    if passed_seconds < 0:
        return date_time(moment_at) if passed_seconds < -60 else _("just now")
    if passed_seconds < 45:
        return _("just now")
    minutes = (passed_seconds + 30) // 60
    if minutes < 60:
        return ngettext("{n} minute ago", "{n} minutes ago", minutes).format(n=minutes)
    hours = passed_seconds // 3600
    if hours < 24:
        return ngettext("{n} hour ago", "{n} hours ago", hours).format(n=hours)
    return date(moment_at)


def until(moment_at: int, *, now_at: int | None = None) -> str:
    """How long is left: "in about 2 hours"."""
    left_seconds = moment_at - (now() if now_at is None else now_at)
    if left_seconds <= 0:
        return _("now")
    return seconds_ahead(left_seconds)


def network_word(network: str) -> str:
    """What stands on every page, QR code and confirmation of a network whose money is not real; empty on
    mainnet."""
    words = {
        "mainnet": "",
        "sandbox": _("Play money: sandbox"),
        "testnet4": _("Test money: testnet4"),
        "signet": _("Test money: signet"),
        "regtest": _("Test money: regtest"),
    }
    return words.get(network, _("Test money: {network}").format(network=network))
