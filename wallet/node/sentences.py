"""The core's reasons as sentences for a person: what happened, to which amount, what to do next."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import assert_never

from wallet.i18n import _, ngettext
from wallet.ln.events import ClosureKind, ClosureReason, FailedAttempt, PaymentFailureReason
from wallet.ln.onion_failure import FailureCode
from wallet.node.suggestions import minimum_in

__all__ = [
    "attempt_sentence",
    "closure_sentence",
    "duration_ms_text",
    "duration_text",
    "msat_text",
    "not_sent_sentence",
    "opening_sentence",
    "payment_failure_sentence",
    "peer_text",
    "sat_text",
]

THIN_NO_BREAK_SPACE = "\u202f"
MAX_PEER_TEXT = 160
MAX_MARKS = 2
"""Accents on one letter: more than any language stacks, and towers of them cover other lines."""
_OUR_QUOTES = str.maketrans("\u201c\u201d\u201e\u201f\u00ab\u00bb", '""""""')
"""Sentences quote a peer in typographic quotes: with none of its own it cannot end the quotation and go on as us."""
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters by their class, yet nothing is seen of them."""


def sat_text(amount_sat: int) -> str:
    """1 234 567 sat, with thin no-break spaces."""
    sign = "\u2212" if amount_sat < 0 else ""
    return sign + f"{abs(amount_sat):,}".replace(",", THIN_NO_BREAK_SPACE) + "\u00a0sat"


def msat_text(amount_msat: int) -> str:
    """Whole satoshis where the amount is whole, three decimals otherwise."""
    whole_sat, rest_msat = divmod(abs(amount_msat), 1000)
    if rest_msat == 0:
        return sat_text(amount_msat // 1000)
    sign = "\u2212" if amount_msat < 0 else ""
    digits = f"{whole_sat:,}".replace(",", THIN_NO_BREAK_SPACE)
    return f"{sign}{digits}.{rest_msat:03d}\u00a0sat"


def duration_text(seconds: int) -> str:
    """Whole hours, or minutes below two hours."""
    hours, minutes = seconds // 3600, seconds // 60
    if hours >= 2:
        return ngettext("{count} hour", "{count} hours", hours).format(count=hours)
    return ngettext("{count} minute", "{count} minutes", minutes).format(count=minutes)


def duration_ms_text(duration_ms: int) -> str:
    """What a person or a network takes: milliseconds, seconds with a decimal, or more."""
    if duration_ms < 1_000:
        return _("{count} ms").format(count=duration_ms)
    if duration_ms < 120_000:
        return _("{seconds} s").format(seconds=f"{duration_ms // 1_000}.{duration_ms // 100 % 10}")
    return duration_text(duration_ms // 1_000)


def peer_text(text: str) -> str:
    """A peer's words, made harmless: one line, no control or direction marks, no quotes of ours, cut short.

    It is plain text, never markup: whoever shows it must not let it be read as HTML.
    """
    kept: list[str] = []
    marks = 0
    # A hostile text may be as long as a message: what is not shown is not looked at either.
    for char in text[: MAX_PEER_TEXT * 8].translate(_OUR_QUOTES):
        if char.isspace() or char in _BLANKS:
            if kept and kept[-1] != " ":
                kept.append(" ")
        elif char.isprintable():
            marks = marks + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
            if marks <= MAX_MARKS:
                kept.append(char)
    plain = "".join(kept).strip()
    return plain if len(plain) <= MAX_PEER_TEXT else plain[: MAX_PEER_TEXT - 1] + "…"


def attempt_sentence(
    attempt: FailedAttempt, alias_of: Callable[[bytes], str], *, passes_msat: int = 0
) -> str:
    """One path that failed: where, and why; where a channel lacked the amount, also how much it lacked, and what is
    known to pass it."""
    path, why = attempt.path, attempt.message
    hops = len(path.hops)
    if attempt.hop_index is None:
        return _("A route of {hops} hops failed: {why}").format(hops=hops, why=why)
    index = min(attempt.hop_index, hops - 1)
    if attempt.failure_code == FailureCode.TEMPORARY_CHANNEL_FAILURE and index + 1 < hops:
        words = (
            _(
                "the channel on to {next} could not carry {amount} now; {passes} would have passed, as far as is known."
            )
            if passes_msat
            else _("the channel on to {next} could not carry {amount} now; less may pass.")
        )
        why = words.format(
            next=alias_of(path.hops[index + 1].node_id),
            amount=msat_text(path.amount_over_msat(index + 1)),
            passes=msat_text(passes_msat),
        )
    return _("Hop {number} of {hops}, {name}: {why}").format(
        number=index + 1, hops=hops, name=alias_of(path.hops[index].node_id), why=why
    )


def payment_failure_sentence(
    reason: PaymentFailureReason,
    amount_msat: int,
    attempts: Sequence[FailedAttempt],
    alias_of: Callable[[bytes], str],
    *,
    asked_for: bool = True,
    passes_msat: int = 0,
) -> str:
    """Why a payment failed for good, and what to try. `asked_for`: by an invoice. `passes_msat`: what is known to pass
    where the last attempt failed."""
    amount = msat_text(amount_msat)
    last = f" {attempt_sentence(attempts[-1], alias_of, passes_msat=passes_msat)}" if attempts else ""
    if reason is PaymentFailureReason.RECIPIENT_REJECTED and attempts and attempts[-1].came_too_late:
        # The invoice is as good as it was.
        reason = PaymentFailureReason.RETRIES_EXHAUSTED
    match reason:
        case PaymentFailureReason.RECIPIENT_REJECTED if not asked_for:
            return _(
                "The payee refused the payment of {amount}. Nothing was paid. It may take no payments that it has not "
                "asked for: ask for an invoice."
            ).format(amount=amount)
        case PaymentFailureReason.RECIPIENT_REJECTED:
            return _(
                "The payee refused the payment of {amount}. Nothing was paid. The invoice may be paid already, or "
                "expired: ask for a new one."
            ).format(amount=amount)
        case PaymentFailureReason.USER_ABANDONED:
            return _("You cancelled the payment of {amount}. Nothing was paid.").format(amount=amount)
        case PaymentFailureReason.RETRIES_EXHAUSTED:
            return (
                ngettext(
                    "{amount} did not get through after {count} attempt. "
                    "Nothing was paid. Try a smaller amount, or later.",
                    "{amount} did not get through after {count} attempts. "
                    "Nothing was paid. Try a smaller amount, or later.",
                    len(attempts),
                ).format(amount=amount, count=len(attempts))
                + last
            )
        case PaymentFailureReason.PAYMENT_EXPIRED:
            return _(
                "The invoice over {amount} ran out before it could be paid. Nothing was paid. Ask for a new one."
            ).format(amount=amount)
        case PaymentFailureReason.ROUTE_NOT_FOUND:
            return (
                _(
                    "There is no route that can carry {amount} to the payee. "
                    "Nothing was paid. Try a smaller amount, or "
                    "open a channel to a node that is better connected."
                ).format(amount=amount)
                + last
            )
        case PaymentFailureReason.UNEXPECTED_ERROR:
            return _(
                "The payment of {amount} failed here, within Leyden. Nothing was paid. Please try again."
            ).format(amount=amount)
        case PaymentFailureReason.UNKNOWN_REQUIRED_FEATURES:
            return _(
                "The invoice over {amount} asks for something that this version of Leyden cannot do. Nothing was paid. "
                "Update Leyden, or ask for another invoice."
            ).format(amount=amount)
        case PaymentFailureReason.INSUFFICIENT_BALANCE:
            return _(
                "Your channels cannot send {amount} now. Nothing was paid. Send less, or open a larger channel."
            ).format(amount=amount)
        case PaymentFailureReason.FEE_LIMIT:
            return _(
                "Every route for {amount} costs more than your fee limit. Nothing was paid. Raise the limit and try "
                "again."
            ).format(amount=amount)
        case _:
            assert_never(reason)


def not_sent_sentence(reason: PaymentFailureReason, amount_msat: int, detail: str) -> str:
    """Why a payment never left, by `detail` where the core found more than the reason, and what to try."""
    match reason:
        case PaymentFailureReason.ROUTE_NOT_FOUND:
            step = _("Try a smaller amount, or open a channel to a node that is better connected.")
        case PaymentFailureReason.INSUFFICIENT_BALANCE:
            step = _("Send less, or open a larger channel.")
        case PaymentFailureReason.FEE_LIMIT:
            step = _("Raise the limit and try again.")
        case _:
            return payment_failure_sentence(reason, amount_msat, (), lambda node_id: "")
    return _("{why} Nothing of the {amount} was paid. {step}").format(
        why=detail, amount=msat_text(amount_msat), step=step
    )


def closure_sentence(reason: ClosureReason) -> str:
    """Why a channel closed."""
    said = peer_text(reason.message)
    tail = f" (“{said}”)" if said else ""
    match reason.kind:
        case ClosureKind.COUNTERPARTY_FORCE_CLOSED:
            return _("The peer force-closed the channel{said}.").format(said=tail)
        case ClosureKind.HOLDER_FORCE_CLOSED:
            return _("You force-closed the channel.")
        case ClosureKind.COOPERATIVE_BY_COUNTERPARTY:
            return _("The peer asked to close the channel, and both sides agreed.")
        case ClosureKind.COOPERATIVE_BY_HOLDER:
            return _("You asked to close the channel, and both sides agreed.")
        case ClosureKind.COMMITMENT_TX_CONFIRMED:
            return _("The peer closed the channel on the chain.")
        case ClosureKind.FUNDING_TIMED_OUT:
            return _("The opening transaction did not confirm in time; the channel was given up.")
        case ClosureKind.PROCESSING_ERROR:
            return _("The peer broke the rules of the channel, so Leyden closed it{said}.").format(said=tail)
        case ClosureKind.DISCONNECTED_BEFORE_FUNDING:
            return _("The peer went away before the channel was funded. No coins were used.")
        case ClosureKind.OUTDATED_STATE:
            return _(
                "This wallet's copy of the channel was out of date. Leyden asked the peer to close it; your coins come "
                "back on the chain."
            )
        case ClosureKind.COUNTERPARTY_COOP_CLOSED_UNFUNDED:
            return _("The peer called off the opening{said}. No coins were used.").format(said=tail)
        case ClosureKind.FUNDING_BATCH_OR_BROADCAST_FAILED:
            return _("The opening transaction could not be sent{said}. No coins were used.").format(said=tail)
        case ClosureKind.HTLCS_TIMED_OUT:
            return _(
                "A payment through the channel was about to run out, so Leyden closed it to keep your coins safe."
            )
        case ClosureKind.PEER_FEERATE_TOO_LOW:
            return _("The peer kept the channel's fee rate too low for it to be safe, so Leyden closed it.")
        case ClosureKind.HOLDER_COOP_CLOSED_UNFUNDED:
            return _("You called off the opening. No coins were used.")
        case _:
            assert_never(reason.kind)


_TOO_TIGHT = ("max_accepted_htlcs", "max_htlc_value_in_flight", "htlc_minimum")


def opening_sentence(reason: ClosureReason, amount_sat: int) -> str:
    """Why an opening came to nothing. What is known is told in the person's language, the rest in the peer's words."""
    message = reason.message
    if reason.kind is ClosureKind.COUNTERPARTY_FORCE_CLOSED:
        return _peers_refusal(message, amount_sat)
    if reason.kind is not ClosureKind.PROCESSING_ERROR:
        return closure_sentence(reason)
    if message.startswith(_TOO_TIGHT):
        why = _("The peer's terms let too little through the channel.")
    elif message.startswith("channel_reserve"):
        why = _("The peer's terms for the channel's reserve are not safe for you.")
    elif message.startswith("dust_limit"):
        why = _("The peer's limit for small amounts is not safe for you.")
    elif message.startswith("The peer wants to wait for"):
        why = _("The peer wants to wait for more confirmations than is sensible.")
    elif "channel_type" in message:
        why = _("The peer answered with another kind of channel than was asked for.")
    elif message.startswith("The opening took too long"):
        why = _("The peer did not answer the opening in time.")
    else:
        said = peer_text(message)
        why = _("The peer broke the rules of an opening (“{said}”).").format(said=said)
    return _("{why} No coins were used: try another peer.").format(why=why)


def _peers_refusal(message: str, amount_sat: int) -> str:
    """A peer's `error` about an opening."""
    said = peer_text(message)
    least_sat = minimum_in(message, amount_sat)
    if least_sat is not None:
        return _(
            "The peer takes channels from {least} only. No coins were used: put in more, or try another peer."
        ).format(least=sat_text(least_sat))
    if not said:
        return _("The peer refused it, and did not say why. No coins were used: try another peer.")
    return _("The peer refused it, and said: “{said}”. No coins were used: try another peer.").format(
        said=said
    )
