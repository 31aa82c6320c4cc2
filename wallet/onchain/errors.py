"""What the on-chain wallet refuses, one class per reason; each message is a sentence for people.

A refusal changes nothing: no row is written, no coin reserved.
"""

from __future__ import annotations

from wallet.bitcoin.amounts import sat_per_vb_from_sat_per_kw_ceil
from wallet.i18n import _, ngettext

__all__ = [
    "AbsurdFee",
    "CannotBump",
    "CoinsTaken",
    "DustOutput",
    "InsufficientFunds",
    "OnchainError",
    "UnknownTransaction",
]


class OnchainError(ValueError):
    """The on-chain wallet does not do what was asked; the message says why."""


class InsufficientFunds(OnchainError):
    """The coins do not reach.

    Attributes:
        needed_sat: amounts, fee and reserve together.
        available_sat: what the coins that may be spent now are worth, less what spending each costs.
        reserve_sat: the part of `needed_sat` that was to be kept back.
    """

    def __init__(self, *, needed_sat: int, available_sat: int, reserve_sat: int = 0) -> None:
        self.needed_sat = needed_sat
        self.available_sat = available_sat
        self.reserve_sat = reserve_sat
        if reserve_sat:
            text = _(
                "This needs {needed} sat, fee included, and the coins that can be spent now give {available} sat. "
                "{reserve} sat of the need are kept back for closing channels."
            )
        else:
            text = _(
                "This needs {needed} sat, fee included, and the coins that can be spent now give {available} sat."
            )
        super().__init__(
            text.format(needed=f"{needed_sat:,}", available=f"{available_sat:,}", reserve=f"{reserve_sat:,}")
        )


class DustOutput(OnchainError):
    """An output so small that no node would pass the transaction on."""

    def __init__(self, *, value_sat: int, limit_sat: int) -> None:
        self.value_sat = value_sat
        self.limit_sat = limit_sat
        super().__init__(
            _("An amount of {value} sat is too small to be sent on chain: the least is {limit} sat.").format(
                value=f"{value_sat:,}", limit=f"{limit_sat:,}"
            )
        )


class AbsurdFee(OnchainError):
    """A fee rate that nobody can mean."""

    def __init__(self, *, feerate_sat_per_kw: int, least_sat_per_kw: int, most_sat_per_kw: int) -> None:
        self.feerate_sat_per_kw = feerate_sat_per_kw
        super().__init__(
            _("A fee rate of {rate} sat per vbyte is refused: it lies between {least} and {most}.").format(
                rate=sat_per_vb_from_sat_per_kw_ceil(feerate_sat_per_kw),
                least=least_sat_per_kw // 250,
                most=f"{most_sat_per_kw // 250:,}",
            )
        )


class CannotBump(OnchainError):
    """This transaction's fee cannot be raised in this way."""


class UnknownTransaction(OnchainError):
    """The wallet has no such transaction."""

    def __init__(self, txid_hex: str) -> None:
        self.txid_hex = txid_hex
        super().__init__(_("This wallet has no transaction {txid}.").format(txid=txid_hex[:16]))


class CoinsTaken(OnchainError):
    """Coins that the transaction spends are spent, or set aside, by another."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(
            ngettext(
                "A coin that this transaction spends is taken by another transaction.",
                "{count} coins that this transaction spends are taken by other transactions.",
                count,
            ).format(count=count)
        )
