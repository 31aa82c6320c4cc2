"""Commands for Lightning payments: requests, paying, hold invoices, history."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

from wallet.bitcoin.hashes import sha256
from wallet.i18n import _
from wallet.ln.events import PaymentFailureReason
from wallet.ln.invoice import Invoice, build_invoice, parse_invoice
from wallet.ln.outbound_payment import PaymentNotSent, Retry
from wallet.ln.route import Route, RouteHint
from wallet.ln.types import APIError, DecodeError, PaymentHash, PaymentId, PaymentPreimage, PaymentSecret
from wallet.node.api import CommandError, Json
from wallet.node.attempts import attempt_json, attempt_view, read_trace
from wallet.node.commands.registry import btc_text_msat, command, sat_from_btc
from wallet.node.details import route_hint
from wallet.node.futures import resolve
from wallet.node.pages import DONE
from wallet.node.probes import Probe, probe_ways, read_probes, with_probes
from wallet.node.records import PaymentRecord, PaymentState, RequestRecord, RequestState
from wallet.node.sentences import msat_text, not_sent_sentence, sat_text
from wallet.node.views import scid_text

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["decode", "default_max_fee_msat", "pay", "put_hold_invoice", "request_json"]

DEFAULT_EXPIRY_SECONDS = 86_400
DEFAULT_FEE_SHARE = 100
"""One part in a hundred: the largest fee by default is 1 %, or 10 sat where that is more."""
DEFAULT_FEE_FLOOR_MSAT = 10_000
RETRY_ATTEMPTS = 10
PAYMENT_TIMEOUT_SECONDS = 120
BUSY_WAIT_SECONDS = 30
KEYS_AT_ONCE = 256
"""Of a long list; reading so many takes some ten milliseconds."""

T = TypeVar("T")


def decode(node: Node, text: str) -> Invoice:
    """An invoice of this network; raises `CommandError`."""
    try:
        return parse_invoice(
            text.strip().removeprefix("lightning:").removeprefix("LIGHTNING:"), node.options.network
        )
    except DecodeError as error:
        raise CommandError(str(error), code="invoice") from None


def default_max_fee_msat(amount_msat: int) -> int:
    return max(amount_msat // DEFAULT_FEE_SHARE, DEFAULT_FEE_FLOOR_MSAT)


# --- requests -------------------------------------------------------------------------


def request_json(node: Node, record: RequestRecord) -> dict[str, Json]:
    """A request in Electrum's fields, and Leyden's own."""
    view = node.views.request_view(record)
    amount_msat = record.amount_msat
    return {
        "request_id": view.request_id,
        "is_lightning": record.invoice is not None,
        "amount_sat": None if amount_msat is None else amount_msat // 1000,
        "amount_msat": amount_msat,
        "message": record.message,
        "timestamp": record.created_at,
        "expiry": record.expiry_seconds,
        "status": _request_status_number(view.status.value),
        "status_str": view.status.value.capitalize(),
        "rhash": view.payment_hash if record.invoice is not None else None,
        "lightning_invoice": record.invoice,
        "address": record.address,
        "received_msat": record.received_msat,
        "paid_twice": view.paid_twice,
        "preimage": record.preimage.hex() if record.preimage and record.state is RequestState.PAID else None,
    }


def _request_status_number(status: str) -> int:
    """Electrum's numbers: 0 unpaid, 1 expired, 3 paid, 4 in flight."""
    return {"unpaid": 0, "expired": 1, "paid": 3, "arriving": 4, "held": 4}.get(status, 1)


def _hints(node: Node, amount_msat: int | None) -> tuple[RouteHint, ...]:
    """Ways to us over channels that nobody else knows; those that can carry the amount first."""
    hints = [
        (hint, details.inbound_capacity_msat)
        for details in node.manager.list_usable_channels()
        if (hint := route_hint(details)) is not None and not details.is_announced
    ]
    hints.sort(key=lambda pair: -pair[1])
    enough = [hint for hint, capacity_msat in hints if amount_msat is None or capacity_msat >= amount_msat]
    return tuple(enough[:3] or [hint for hint, _capacity in hints[:5]])


def _make_invoice(
    node: Node,
    amount_msat: int | None,
    description: str,
    expiry_seconds: int,
    payment_hash: bytes | None,
    final_cltv_delta: int,
) -> tuple[bytes, str]:
    """Payment hash and text of a new invoice of ours; within an entry."""
    now = node.core.now
    if payment_hash is None:
        new_hash, secret = node.manager.create_inbound_payment(amount_msat, expiry_seconds, now, None)
    else:
        new_hash = PaymentHash(payment_hash)
        secret = node.manager.create_inbound_payment_for_hash(
            new_hash, amount_msat, expiry_seconds, now, None
        )
    invoice = build_invoice(
        network=node.options.network,
        payment_hash=new_hash,
        payment_secret=PaymentSecret(secret),
        amount_msat=amount_msat,
        description=description,
        created_at=now.at,
        expiry_seconds=expiry_seconds,
        min_final_cltv_delta=final_cltv_delta,
        hints=_hints(node, amount_msat),
        sign=node.keys_manager.sign_invoice,
    )
    return bytes(new_hash), invoice.text


def _amount_msat(amount: str | None, amount_msat: int | None) -> int | None:
    if amount is not None and amount_msat is not None:
        raise CommandError(_("Say the amount once: in BTC, or as amount_msat."), code="usage")
    if amount is not None:
        return sat_from_btc(amount, what=_("The amount")) * 1000
    if amount_msat is not None and amount_msat <= 0:
        raise CommandError(_("The amount has to be more than nothing."), code="amount")
    return amount_msat


@command
async def add_request(
    node: Node,
    amount: str | None = None,
    *,
    memo: str = "",
    message: str = "",
    expiry: int = DEFAULT_EXPIRY_SECONDS,
    expiry_seconds: int | None = None,
    lightning: bool = False,
    amount_msat: int | None = None,
    both: bool = False,
) -> Json:
    """Asks to be paid: an on-chain address, with --lightning a BOLT 11 invoice, with --both either: whoever pays
    chooses. The amount is in BTC."""
    value_msat = _amount_msat(amount, amount_msat)
    lifetime_seconds = expiry_seconds if expiry_seconds is not None else expiry
    if not 1 <= lifetime_seconds <= 365 * 86_400:
        raise CommandError(_("A request lives between a second and a year."), code="usage")
    text = message or memo
    with node.core.entry():
        invoice = None
        address: str | None = None
        if lightning or both:
            if not node.manager.list_usable_channels() and not node.manager.list_channels():
                raise CommandError(
                    _(
                        "Nobody could pay this invoice yet: you have no channel. Ask "
                        "for an on-chain payment instead, or open a channel first."
                    ),
                    code="no_channel",
                )
            delta = node.options.user_config.final_cltv_expiry_delta
            try:
                request_id, invoice = _make_invoice(node, value_msat, text, lifetime_seconds, None, delta)
            except APIError as error:
                # More than there is, or words that are too long for an invoice.
                raise CommandError(str(error), code="usage") from None
        if invoice is None or both:
            address = node.orders.request_address()
        if invoice is None:
            request_id = sha256((address or "").encode())
        now = node.core.now
        record = RequestRecord(
            request_id=request_id,
            amount_msat=value_msat,
            message=text,
            created_at=now.at,
            expiry_seconds=lifetime_seconds,
            invoice=invoice,
            address=address,
            state=RequestState.UNPAID,
            received_msat=0,
            paid_at=0,
        )
        node.ledger.put_request(record)
        durable = node.durable()
    await durable
    return request_json(node, record)


@command
async def list_requests(
    node: Node,
    *,
    pending: bool = False,
    expired: bool = False,
    paid: bool = False,
    limit: int = 0,
    offset: int = 0,
) -> Json:
    """Lists what you asked to be paid, newest first. With --limit only so many, after the first --offset of them."""
    _check_part(limit, offset)
    wanted = {name for name, on in (("unpaid", pending), ("expired", expired), ("paid", paid)) if on}
    requests = node.ledger.requests
    keys = [
        key
        for _at, key in requests.keys_by_time(
            lambda record: -record.created_at, lambda at, _bits, other_seconds: -(at + other_seconds)
        )
    ]
    listed: list[Json] = []
    passed = 0
    async for some in _in_parts(keys):
        found = requests.many(some)
        for record in filter(None, map(found.get, some)):
            if wanted and node.views.request_view(record).status.value not in wanted:
                continue
            passed += 1
            if passed > offset:
                listed.append(request_json(node, record))
            if limit and len(listed) == limit:
                return listed
    return listed


def _check_part(limit: int, offset: int) -> None:
    if limit < 0 or offset < 0:
        raise CommandError(_("A limit and an offset count entries: they are not below 0."), code="usage")


async def _in_parts(keys: Sequence[T]) -> AsyncIterator[Sequence[T]]:
    """A few hundred at a time; in between, others have their turn."""
    for first in range(0, len(keys), KEYS_AT_ONCE):
        if first:
            await asyncio.sleep(0)
        yield keys[first : first + KEYS_AT_ONCE]


@command
async def get_request(node: Node, request_id: str) -> Json:
    """Shows one request."""
    return request_json(node, _request(node, request_id))


def _request(node: Node, request_id: str) -> RequestRecord:
    try:
        return node.ledger.requests[bytes.fromhex(request_id)]
    except (KeyError, ValueError):
        raise CommandError(
            _("There is no request {id}.").format(id=request_id[:70]), code="unknown"
        ) from None


# --- hold invoices ----------------------------------------------------------------------


def put_hold_invoice(
    node: Node,
    payment_hash: bytes,
    amount_msat: int | None,
    memo: str,
    expiry_seconds: int,
    final_cltv_delta: int | None = None,
) -> str:
    """Writes down an invoice whose payment is held; its text. Within an entry; raises `APIError`."""
    delta = final_cltv_delta or node.options.user_config.final_cltv_expiry_delta
    _hash, invoice = _make_invoice(node, amount_msat, memo, expiry_seconds, payment_hash, delta)
    node.ledger.put_request(
        RequestRecord(
            request_id=payment_hash,
            amount_msat=amount_msat,
            message=memo,
            created_at=node.core.now.at,
            expiry_seconds=expiry_seconds,
            invoice=invoice,
            address=None,
            state=RequestState.UNPAID,
            received_msat=0,
            paid_at=0,
            hold=True,
        )
    )
    return invoice


@command
async def add_hold_invoice(
    node: Node,
    payment_hash: str,
    amount: str | None = None,
    *,
    memo: str = "",
    expiry: int = DEFAULT_EXPIRY_SECONDS,
    min_final_cltv_expiry_delta: int | None = None,
    amount_msat: int | None = None,
) -> Json:
    """Makes an invoice for a hash whose preimage somebody else knows; the payment waits until it is settled."""
    try:
        hash_bytes = bytes.fromhex(payment_hash)
    except ValueError:
        hash_bytes = b""
    if len(hash_bytes) != 32:
        raise CommandError(_("A payment hash is 64 characters of 0-9 and a-f."), code="usage")
    if hash_bytes in node.ledger.requests:
        raise CommandError(_("There is a request for this payment hash already."), code="exists")
    value_msat = _amount_msat(amount, amount_msat)
    with node.core.entry():
        try:
            invoice = put_hold_invoice(
                node, hash_bytes, value_msat, memo, expiry, min_final_cltv_expiry_delta
            )
        except APIError as error:
            raise CommandError(str(error), code="usage") from None
        durable = node.durable()
    await durable
    return {"invoice": invoice}


@command
async def settle_hold_invoice(node: Node, preimage: str) -> Json:
    """Takes a held payment with its preimage."""
    try:
        secret = bytes.fromhex(preimage)
    except ValueError:
        secret = b""
    if len(secret) != 32:
        raise CommandError(_("A preimage is 64 characters of 0-9 and a-f."), code="usage")
    payment_hash = sha256(secret)
    with node.core.entry():
        record = _request(node, payment_hash.hex())
        if record.state is RequestState.PAID:
            raise CommandError(_("This payment is settled already."), code="settled")
        # Who is told that it is settled hands out what was sold.
        if record.state is not RequestState.HELD or not node.manager.is_claimable(PaymentHash(payment_hash)):
            raise CommandError(
                _(
                    "No payment is held for this invoice: nothing has arrived, it has gone back, or it was cancelled."
                ),
                code="not_held",
            )
        node.ledger.put_request(dataclasses.replace(record, preimage=secret))
        node.manager.claim_funds(PaymentPreimage(secret))
        durable = node.durable()
    await durable
    return {"settled": payment_hash.hex()}


@command
async def cancel_hold_invoice(node: Node, payment_hash: str) -> Json:
    """Gives a held payment back, or calls off its invoice."""
    with node.core.entry():
        record = _request(node, payment_hash)
        if not record.hold:
            raise CommandError(_("This is not a hold invoice."), code="usage")
        if record.state is RequestState.PAID or record.preimage is not None:
            raise CommandError(_("This payment is settled: it can no longer be given back."), code="settled")
        node.ledger.put_request(dataclasses.replace(record, state=RequestState.CANCELLED))
        node.manager.fail_htlc_backwards(PaymentHash(record.request_id))
        durable = node.durable()
    await durable
    return {"cancelled": payment_hash}


@command
async def check_hold_invoice(node: Node, payment_hash: str) -> Json:
    """Tells how a hold invoice stands: unpaid, paid (held), settled, or unknown."""
    try:
        record = node.ledger.requests.get(bytes.fromhex(payment_hash))
    except ValueError:
        raise CommandError(_("A payment hash is 64 characters of 0-9 and a-f."), code="usage") from None
    if record is None or record.state is RequestState.CANCELLED:
        return {"status": "unknown", "received_amount_sat": 0}
    names = {RequestState.UNPAID: "unpaid", RequestState.HELD: "paid", RequestState.PAID: "settled"}
    answer: dict[str, Json] = {
        "status": names[record.state],
        "received_amount_sat": record.received_msat // 1000,
        "invoice_amount_sat": (record.amount_msat or 0) // 1000,
    }
    if record.state is RequestState.HELD:
        answer["closest_htlc_expiry_height"] = record.claim_deadline_height
    if record.state is RequestState.PAID and record.preimage is not None:
        answer["preimage"] = record.preimage.hex()
    return answer


# --- paying ---------------------------------------------------------------------------------


@command
async def decode_invoice(node: Node, invoice: str) -> Json:
    """Reads a BOLT 11 invoice."""
    return invoice_json(decode(node, invoice))


def invoice_json(invoice: Invoice) -> dict[str, Json]:
    """All fields of an invoice, in Electrum's names where it has them."""
    return {
        "chain": invoice.network.name,
        "amount_msat": invoice.amount_msat,
        "amount_BTC": btc_text_msat(invoice.amount_msat) if invoice.amount_msat is not None else None,
        "timestamp": invoice.created_at,
        "expiry": invoice.expiry_seconds,
        "expires_at": invoice.expires_at,
        "rhash": invoice.payment_hash.hex(),
        "payment_secret": invoice.payment_secret.hex(),
        "pubkey": invoice.payee.hex(),
        "message": invoice.description,
        "description_hash": invoice.description_hash.hex() if invoice.description_hash is not None else None,
        "min_final_cltv_delta": invoice.min_final_cltv_delta,
        "features": invoice.features.to_bytes().hex(),
        "fallback_addresses": list(invoice.fallback_addresses),
        "payment_metadata": invoice.payment_metadata.hex() if invoice.payment_metadata is not None else None,
        "r_tags": [
            [
                {
                    "node_id": hop.node_id.hex(),
                    "short_channel_id": scid_text(hop.short_channel_id),
                    "fee_base_msat": hop.fee_base_msat,
                    "fee_proportional_millionths": hop.fee_proportional_millionths,
                    "cltv_expiry_delta": hop.cltv_expiry_delta,
                }
                for hop in hint
            ]
            for hint in invoice.hints
        ],
    }


@command
async def lnpay(
    node: Node,
    invoice: str,
    *,
    timeout: int = PAYMENT_TIMEOUT_SECONDS,  # noqa: ASYNC109 - Electrum's name for the argument
    amount_msat: int | None = None,
    max_fee_msat: int | None = None,
    trace: bool = False,
    probe: bool = False,
) -> Json:
    """Pays a BOLT 11 invoice; returns when the payment is final, or after the time-out with it still under way.
    With --trace, the answer holds each attempt: its path, what went over each hop, what failed where, how long it took.
    With --probe, the amount is sent ahead in a way that nobody can take, and is paid only once that has reached the
    payee.
    """
    decoded = decode(node, invoice)
    if paused := node.pause_sentence():
        raise CommandError(_("{why} Nothing was paid.").format(why=paused), code="paused")
    if max_fee_msat is not None and max_fee_msat < 0:
        raise CommandError(_("A fee limit is not below 0."), code="usage")
    value_msat = _payable_amount_msat(node, decoded, amount_msat)
    limit_msat = max_fee_msat if max_fee_msat is not None else default_max_fee_msat(value_msat)
    known = node.ledger.payments.get(bytes(decoded.payment_hash))
    if known is not None and known.state is not PaymentState.FAILED:
        raise _paid_already(known)
    first_route: Route | None = None
    probes: tuple[Probe, ...] = ()
    if probe:
        route_params = dataclasses.replace(
            decoded.route_parameters(value_msat), max_total_routing_fee_msat=limit_msat
        )
        found = await probe_ways(node, route_params, timeout)
        first_route, probes = found.route, found.probes
        if first_route is None:
            refused: dict[str, Json] = {
                "payment_hash": decoded.payment_hash.hex(),
                "success": False,
                "preimage": None,
                "reason": found.problem,
            }
            return refused | _probed(node, probes)
    now_at = node.wall_clock_at()
    record = PaymentRecord(
        payment_hash=bytes(decoded.payment_hash),
        amount_msat=value_msat,
        fee_msat=0,
        created_at=now_at,
        settled_at=0,
        state=PaymentState.PENDING,
        invoice=invoice.strip(),
        description=decoded.description or "",
        payee=bytes(decoded.payee),
        probes=with_probes(b"", probes),
    )

    def send() -> None:
        node.manager.pay_for_bolt11_invoice(
            decoded,
            payment_id=PaymentId(record.payment_hash),
            amount_msat=value_msat,
            max_fee_msat=limit_msat,
            retry=Retry(max_retries=RETRY_ATTEMPTS, timeout_ms=timeout * 1000),
            now=node.core.now,
            first_route=first_route,
        )

    answer = await pay(node, record, send, timeout_seconds=timeout, trace=trace)
    return answer | _probed(node, probes) if probe else answer


def _probed(node: Node, probes: Sequence[Probe]) -> dict[str, Json]:
    """What was sent ahead, and how far each of it came."""
    told: list[Json] = []
    for sent in probes:
        view = attempt_view(sent.attempt, node.alias_of, scid_text)
        told.append(attempt_json(view) | {"reached_payee": sent.reached_payee})
    return {"probes": told}


async def pay(
    node: Node, record: PaymentRecord, send: Callable[[], object], *, timeout_seconds: int, trace: bool
) -> dict[str, Json]:
    """Writes a payment down, has `send` send it from within an entry, and waits for its end, within the time."""
    payment_hash, value_msat = record.payment_hash, record.amount_msat
    final: asyncio.Future[None] = node.promise()
    with node.core.entry():
        known = node.ledger.payments.get(payment_hash)
        if known is not None and known.state is not PaymentState.FAILED:
            raise _paid_already(known)
        node.events.payment_waiters.setdefault(payment_hash, []).append(lambda: resolve(final, None))
        if known is not None:
            # What was tried before stays on record.
            probes = with_probes(known.probes, read_probes(record.probes))
            record = dataclasses.replace(record, trace=known.trace, probes=probes)
        node.ledger.put_payment(record)
    try:
        async with asyncio.timeout(timeout_seconds):
            try:
                await _send_when_possible(node, record, send, timeout_seconds)
            except BaseException:
                # Called off while it waited, or a fault of ours: an invoice under way for ever could never be paid.
                with node.core.entry():
                    _not_sent(node, payment_hash, _("The payment was called off before anything was sent."))
                raise
            await final
    except TimeoutError:
        if node.ledger.payments[payment_hash].state is PaymentState.PENDING:
            pending: dict[str, Json] = {
                "payment_hash": payment_hash.hex(),
                "success": False,
                "pending": True,
                "preimage": None,
                "reason": _(
                    "The payment of {amount} is still under way. It will arrive or come back; do not pay it another "
                    "way."
                ).format(amount=msat_text(value_msat)),
            }
            return pending | _traced(node, payment_hash, trace)
    return payment_json(node.ledger.payments[payment_hash]) | _traced(node, payment_hash, trace)


@command
async def payment_deadline(node: Node, payment_hash: str) -> Json:
    """Tells when the time limit of a payment that is under way ends: the block height, and how many blocks that is from
    now. By then it mostly has arrived or come back. If it hangs even then, Leyden closes the channel a few blocks later
    and takes the amount back on chain, which takes longer. Empty where nothing of it is under way."""
    try:
        key = bytes.fromhex(payment_hash)
    except ValueError:
        raise CommandError(_("A payment hash is 64 characters of 0-9 and a-f."), code="usage") from None
    with node.core.locked():
        heights = [
            htlc.cltv_expiry_height
            for channel in node.manager.list_channels()
            for htlc in channel.pending_htlcs
            if htlc.outbound and htlc.payment_hash == key
        ]
    if not heights:
        return {}
    return {"height": max(heights), "blocks": max(0, max(heights) - node.best_height)}


def _traced(node: Node, payment_hash: bytes, wanted: bool) -> dict[str, Json]:
    """The attempts of a payment, where they were asked for."""
    if not wanted:
        return {}
    found = node.views.payment_attempts(f"ln:{payment_hash.hex()}")
    return {"attempts": [attempt_json(view) for view in found]}


async def _send_when_possible(
    node: Node, record: PaymentRecord, send: Callable[[], object], timeout_seconds: int
) -> None:
    """Sends a payment; while other payments fill the channels, waits for one of them to end, within reason."""
    payment_hash, value_msat = record.payment_hash, record.amount_msat
    give_up_at = asyncio.get_running_loop().time() + min(BUSY_WAIT_SECONDS, timeout_seconds / 2)
    while True:
        with node.core.entry():
            version = node.views.version
            try:
                send()
                return
            except (APIError, PaymentNotSent) as error:
                busy = isinstance(error, PaymentNotSent) and _only_busy(node, error, value_msat)
                left_seconds = give_up_at - asyncio.get_running_loop().time()
                if not busy or left_seconds <= 0:
                    _not_sent(node, payment_hash, _why_not_sent(error, value_msat))
                    return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_seconds):
                await node.views.changed_since(version)


def _why_not_sent(error: APIError | PaymentNotSent, value_msat: int) -> str:
    if isinstance(error, PaymentNotSent):
        return not_sent_sentence(error.reason, value_msat, error.message)
    return _("{why} Nothing of the {amount} was paid.").format(why=error, amount=msat_text(value_msat))


def _not_sent(node: Node, payment_hash: bytes, failure: str) -> None:
    """Ends a payment of which nothing has left; within an entry. One that has left ends by its event."""
    record = node.ledger.payments[payment_hash]
    if record.state is PaymentState.PENDING and not node.manager.knows_payment(PaymentId(payment_hash)):
        node.ledger.put_payment(
            dataclasses.replace(
                record, state=PaymentState.FAILED, failure=failure, settled_at=node.core.now.at
            )
        )
        node.events.tell_waiters(payment_hash)


def _only_busy(node: Node, error: PaymentNotSent, value_msat: int) -> bool:
    """Whether the channels could send the amount once the payments that fill them have ended."""
    if error.reason not in (PaymentFailureReason.INSUFFICIENT_BALANCE, PaymentFailureReason.ROUTE_NOT_FOUND):
        return False
    usable = node.manager.list_usable_channels()
    if not any(item.pending_htlcs for item in usable):
        return False
    return value_msat <= sum(item.outbound_capacity_msat for item in usable)


def payment_json(record: PaymentRecord) -> dict[str, Json]:
    """The end of a payment."""
    success = record.state is PaymentState.SUCCEEDED
    return {
        "payment_hash": record.payment_hash.hex(),
        "success": success,
        "preimage": record.preimage.hex() if record.preimage is not None else None,
        "amount_msat": record.amount_msat,
        "fee_msat": record.fee_msat if success else None,
        "reason": record.failure or None,
        "log": list(record.attempts),
    }


def _paid_already(record: PaymentRecord) -> CommandError:
    if record.state is PaymentState.SUCCEEDED:
        return CommandError(
            _("This invoice over {amount} is paid already: nothing was sent again.").format(
                amount=msat_text(record.amount_msat)
            ),
            code="paid",
        )
    return CommandError(
        _("A payment of {amount} for this invoice is under way: wait for it to arrive or come back.").format(
            amount=msat_text(record.amount_msat)
        ),
        code="pending",
    )


def _payable_amount_msat(node: Node, invoice: Invoice, amount_msat: int | None) -> int:
    """What is to be paid; raises `CommandError` where the invoice cannot be paid at all."""
    if bytes(invoice.payee) == bytes(node.keys_manager.get_node_id()):
        raise CommandError(_("This invoice is your own: a wallet cannot pay itself."), code="own")
    if invoice.is_expired(node.wall_clock_at()):
        raise CommandError(_("This invoice has run out. Ask the payee for a new one."), code="expired")
    if invoice.amount_msat is not None:
        if amount_msat is not None and amount_msat != invoice.amount_msat:
            raise CommandError(
                _("The invoice says {amount}: leave the amount away.").format(
                    amount=msat_text(invoice.amount_msat)
                ),
                code="amount",
            )
        return invoice.amount_msat
    if amount_msat is None or amount_msat <= 0:
        raise CommandError(
            _("The invoice leaves the amount to you: say how much, as amount_msat."), code="amount"
        )
    return amount_msat


def why_not_payable(node: Node, amount_msat: int) -> str | None:
    """A sentence when the channels cannot send the amount now; within the lock."""
    if paused := node.pause_sentence():
        return paused
    usable = node.manager.list_usable_channels()
    if not usable:
        return _("You have no channel that is ready to pay with.")
    limit_msat = sum(item.next_outbound_htlc_limit_msat for item in usable)
    if amount_msat > limit_msat:
        return _("Your channels can send {limit} at most now.").format(limit=sat_text(limit_msat // 1000))
    return None


@command
async def lightning_history(node: Node, *, details: bool = False, limit: int = 0, offset: int = 0) -> Json:
    """Lists the Lightning payments, oldest first. With --details also those that failed or are under way, and every
    attempt and probe of each. With --limit only the newest so many, without the --offset newest of all."""
    _check_part(limit, offset)
    payments, requests = node.ledger.payments, node.ledger.requests
    made = payments.keys_by_time(
        lambda record: (
            record.settled_at or record.created_at
            if details or record.state is PaymentState.SUCCEEDED
            else None
        ),
        lambda at, bits, other_seconds: at + other_seconds if details or bits & DONE else None,
    )
    received = requests.keys_by_time(
        lambda record: record.paid_at if _was_received(record) else None,
        lambda at, bits, _other_seconds: at if bits & DONE else None,
    )
    keys = [(at, key, True) for at, key in made] + [(at, key, False) for at, key in received]
    keys.sort(key=itemgetter(0))
    if limit or offset:
        last = max(0, len(keys) - offset)
        keys = keys[max(0, last - limit) if limit else 0 : last]
    entries: list[Json] = []
    async for some in _in_parts(keys):
        sent = payments.many(key for _at, key, is_payment in some if is_payment)
        asked = requests.many(key for _at, key, is_payment in some if not is_payment)
        for _at, key, is_payment in some:
            if is_payment and (payment := sent.get(key)) is not None:
                entries.append(_sent_entry(node, payment, details))
            elif not is_payment and (request := asked.get(key)) is not None and _was_received(request):
                entries.append(_received_entry(request))
    return entries


def _was_received(request: RequestRecord) -> bool:
    """Over Lightning, as an invoice or without one."""
    return (request.state is RequestState.PAID and request.invoice is not None) or request.expiry_seconds == 0


def _sent_entry(node: Node, payment: PaymentRecord, details: bool) -> dict[str, Json]:
    entry: dict[str, Json] = {
        "type": "payment",
        "direction": "sent",
        "payment_hash": payment.payment_hash.hex(),
        "preimage": payment.preimage.hex() if payment.preimage else None,
        "amount_msat": -payment.amount_msat,
        "fee_msat": payment.fee_msat,
        "timestamp": payment.settled_at or payment.created_at,
        "label": payment.description,
    }
    if details:
        entry |= {
            "status": payment.state.name.lower(),
            "reason": payment.failure or None,
            "attempts_left_out": read_trace(payment.trace).left_out,
        }
        entry |= _traced(node, payment.payment_hash, wanted=True)
        entry |= _probed(node, read_probes(payment.probes))
    return entry


def _received_entry(request: RequestRecord) -> dict[str, Json]:
    return {
        "type": "payment",
        "direction": "received",
        "payment_hash": request.request_id.hex(),
        "preimage": request.preimage.hex() if request.preimage else None,
        "amount_msat": request.received_msat,
        "fee_msat": None,
        "timestamp": request.paid_at,
        "label": request.message,
    }
