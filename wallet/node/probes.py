"""Probes: what looks like a payment is sent ahead over the route that the payment would take, and comes back.

Its payment hash is random, so that nobody can take it. If it comes back from the payee, who does not know the hash,
every channel on the way had the amount. If it comes back from on the way, another route is looked for. Each path of a
route is probed by an HTLC of its own, all at the same time, so that they do not count on the same coins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.records import decode, encode
from wallet.i18n import _, ngettext
from wallet.ln.events import PaymentFailed, PaymentFailureReason
from wallet.ln.outbound_payment import PaymentNotSent, learn_from
from wallet.ln.route import Route, RouteParameters
from wallet.ln.types import APIError
from wallet.node.attempts import MAX_KEPT, Attempt, failed
from wallet.node.core import read_clocks
from wallet.node.futures import resolve
from wallet.node.sentences import msat_text, not_sent_sentence

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["MAX_ROUTES", "Probe", "Probed", "probe_ways", "read_probes", "with_probes"]

MAX_ROUTES = 10
"""So many routes are probed before it is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One path that was probed, and how it ended."""

    attempt: Attempt
    reached_payee: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    probes: tuple[Probe, ...] = ()


def read_probes(data: bytes) -> tuple[Probe, ...]:
    """What `with_probes` gave, oldest first. As of a payment's attempts, what cannot be read is as if it were not
    there."""
    try:
        return decode(_Kept, data).probes if data else ()
    except DecodeError:
        return ()


def with_probes(data: bytes, more: Sequence[Probe]) -> bytes:
    """The record of what was sent ahead of a payment, with more of it; the newest are kept."""
    return encode(_Kept(probes=(*read_probes(data), *more)[-MAX_KEPT:])) if more else data


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What probing found out.

    Attributes:
        route: whose every path had the amount; None where none was found.
        problem: a sentence, where there is no route.
    """

    route: Route | None
    probes: tuple[Probe, ...]
    problem: str = ""


async def probe_ways(node: Node, route_params: RouteParameters, timeout_seconds: int) -> Probed:
    """Probes one route after the other until one is free."""
    probes: list[Probe] = []
    amount_msat = route_params.final_value_msat
    try:
        async with asyncio.timeout(timeout_seconds):
            for _number in range(MAX_ROUTES):
                try:
                    route, ends = await _probe(node, route_params)
                except PaymentNotSent as error:
                    problem = not_sent_sentence(error.reason, amount_msat, error.message)
                    return Probed(route=None, probes=tuple(probes), problem=problem)
                except APIError as error:
                    problem = _("{why} Nothing of the {amount} was paid.").format(
                        why=error, amount=msat_text(amount_msat)
                    )
                    return Probed(route=None, probes=tuple(probes), problem=problem)
                now = read_clocks()
                params = route_params.payment_params
                for end in ends:
                    reached = end.reason is PaymentFailureReason.RECIPIENT_REJECTED
                    for attempt in end.attempts:
                        probes.append(Probe(attempt=failed(attempt, now), reached_payee=reached))
                        params = params if reached else learn_from(params, attempt)
                if all(end.reason is PaymentFailureReason.RECIPIENT_REJECTED for end in ends):
                    return Probed(route=route, probes=tuple(probes))
                route_params = replace(route_params, payment_params=params)
    except TimeoutError:
        return Probed(
            route=None,
            probes=tuple(probes),
            problem=_(
                "A probe over {amount} did not come back in time. Nothing was paid. Try again later, or without a "
                "probe."
            ).format(amount=msat_text(amount_msat)),
        )
    return Probed(
        route=None,
        probes=tuple(probes),
        problem=ngettext(
            "No probe over {amount} reached the payee: {count} route was tried. Nothing was paid. Try a smaller "
            "amount, or later.",
            "No probe over {amount} reached the payee: {count} routes were tried. Nothing was paid. Try a smaller "
            "amount, or later.",
            MAX_ROUTES,
        ).format(amount=msat_text(amount_msat), count=MAX_ROUTES),
    )


async def _probe(node: Node, route_params: RouteParameters) -> tuple[Route, list[PaymentFailed]]:
    """Probes one route; answers once all of it has come back."""
    waiting: list[asyncio.Future[PaymentFailed]] = []
    with node.core.entry():
        route, hashes = node.manager.send_probes(route_params, node.core.now)
        # The events of this entry are handled when it ends.
        for payment_hash in hashes:
            future: asyncio.Future[PaymentFailed] = node.promise()
            waiting.append(future)
            node.events.probe_waiters[bytes(payment_hash)] = partial(resolve, future)
    return route, [await future for future in waiting]
