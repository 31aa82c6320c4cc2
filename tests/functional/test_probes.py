"""Payment probes learn nothing: whatever is wrong with a payment to us, the answer is the same, and as quick.

BOLT 4, failure messages, final node: unknown and wrong are one, incorrect_or_unknown_payment_details. Otherwise whoever
sees a payment hash (a node on the way of a payment, or somebody with an invoice that was shown) could go through the
network and ask each node whether it is the payee, or what it expects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from unittest.mock import patch

import pytest

from tests.functional.joined import FINAL_CLTV_DELTA, Node, Payment, World, config
from wallet.bitcoin.hashes import sha256
from wallet.chain.interfaces import Row
from wallet.ln import events as ev
from wallet.ln import inbound_payment, msgs
from wallet.ln.onion_failure import Failure, FailureCode
from wallet.ln.onion_utils import Receive, _key, _stream, peel_payment_onion
from wallet.ln.types import PaymentHash, PaymentId, PaymentPreimage, PaymentSecret

HTLC_MSAT = 2_000_000
"""Of every probe: the amount is in the answer, as the prober knows it anyhow."""


@dataclass(frozen=True)
class Probe:
    """What a prober puts into its onion."""

    payment_hash: PaymentHash
    payment_secret: PaymentSecret


@dataclass(frozen=True)
class Seen:
    """All that a prober can see of the answer.

    Attributes:
        answer: the failure as it was before it was encrypted, its padding included.
        said: every message between the two, by the round in which it went over the wire.
        written: how many rows the payee wrote, in how many batches.
    """

    answer: bytes
    said: tuple[tuple[int, str, str, int], ...]
    written: tuple[int, int]


def _invoice(
    payee: Node,
    world: World,
    amount_msat: int | None,
    *,
    seen_at: int | None = None,
    delta: int | None = None,
) -> tuple[PaymentHash, PaymentSecret]:
    made = inbound_payment.create(
        payee.manager._inbound_keys,
        min_value_msat=amount_msat,
        expiry_seconds=3_600,
        random_bytes=payee.keys.get_secure_random_bytes(),
        highest_seen_at=payee.manager.highest_seen_at if seen_at is None else seen_at,
        min_final_cltv_delta=delta,
    )
    return made.payment_hash, made.payment_secret


def _unknown(_payee: Node, _world: World) -> Probe:
    return Probe(PaymentHash(sha256(b"unknown")), PaymentSecret(sha256(b"secret")))


def _known(
    make: Callable[[Node, World], tuple[PaymentHash, PaymentSecret]],
) -> Callable[[Node, World], Probe]:
    return lambda payee, world: Probe(*make(payee, world))


def _wrong_secret(payee: Node, world: World) -> Probe:
    payment_hash, secret = _invoice(payee, world, HTLC_MSAT)
    return Probe(payment_hash, PaymentSecret(secret[:-1] + bytes([secret[-1] ^ 1])))


def _secret_of_another(payee: Node, world: World) -> Probe:
    return Probe(_invoice(payee, world, HTLC_MSAT)[0], _invoice(payee, world, HTLC_MSAT)[1])


def _hold_hash_with_a_wrong_secret(payee: Node, world: World) -> Probe:
    payment_hash = PaymentHash(sha256(b"theirs"))
    payee.manager.create_inbound_payment_for_hash(payment_hash, HTLC_MSAT, 3_600, world.now)
    return Probe(payment_hash, PaymentSecret(sha256(b"wrong")))


def _hold_hash_with_too_little(payee: Node, world: World) -> Probe:
    payment_hash = PaymentHash(sha256(b"theirs"))
    secret = payee.manager.create_inbound_payment_for_hash(payment_hash, HTLC_MSAT + 1, 3_600, world.now)
    return Probe(payment_hash, secret)


PROBES: dict[str, Callable[[Node, World], Probe]] = {
    "unknown": _unknown,
    "wrong_secret": _wrong_secret,
    "secret_of_another": _secret_of_another,
    "too_little": _known(lambda payee, world: _invoice(payee, world, HTLC_MSAT + 1)),
    "too_much": _known(lambda payee, world: _invoice(payee, world, HTLC_MSAT // 2 - 1)),
    "expired": _known(lambda payee, world: _invoice(payee, world, HTLC_MSAT, seen_at=1)),
    "too_near": _known(lambda payee, world: _invoice(payee, world, HTLC_MSAT, delta=FINAL_CLTV_DELTA + 2)),
    "hold_wrong_secret": _hold_hash_with_a_wrong_secret,
    "hold_too_little": _hold_hash_with_too_little,
}


def probe(world: World, prober: Node, payee: Node, sent: Probe, number: int) -> Seen:
    """One payment that fails; what there is to see of it."""
    rounds = 0
    said: list[tuple[int, str, str, int]] = []
    added: list[msgs.UpdateAddHtlc] = []
    failed: list[msgs.UpdateFailHtlc] = []

    def watch(sender: Node, _receiver: Node, msg: msgs.Message) -> bool:
        said.append((rounds, sender.name, type(msg).__name__, len(msgs.encode_message(msg))))
        if isinstance(msg, msgs.UpdateAddHtlc):
            added.append(msg)
        elif isinstance(msg, msgs.UpdateFailHtlc):
            failed.append(msg)
        return True

    world.filter = watch
    before, batches = payee.store.writes, 0
    write = payee.store.write

    def counted(rows: Iterable[Row]) -> None:
        nonlocal batches
        batches += 1
        write(rows)

    with patch.object(payee.store, "write", counted):
        prober.manager.send_payment_with_route(
            sent.payment_hash,
            sent.payment_secret,
            None,
            PaymentId(sha256(b"probe %d" % number)),
            world.route([world.path([prober, payee], HTLC_MSAT)], payee),
            world.now,
        )
        while world.step():
            rounds += 1
    world.filter = None
    prober.one_event(ev.PaymentFailed)
    payee.take_events()
    peeled = peel_payment_onion(added[0].onion_routing_packet, added[0].payment_hash, payee.keys.ecdh)
    assert isinstance(peeled, Receive)
    plain = _stream(_key(b"ammag", peeled.shared_secret), failed[0].reason)
    # The 32 bytes in front authenticate the rest, by the secret that only the two know.
    return Seen(plain[32:], tuple(said), (payee.store.writes - before, batches))


@pytest.fixture
def two(world: World) -> tuple[Node, Node]:
    prober, payee = world.node("prober", config()), world.node("payee", config())
    world.open_channel(prober, payee, 1_000_000, 300_000_000)
    world.check_rows = False
    # The first payment of a channel differs from later ones: one goes ahead of all probes.
    probe(world, prober, payee, _unknown(payee, world), 1_000)
    return prober, payee


def test_whatever_is_wrong_the_answer_is_the_same_and_as_quick(world: World, two: tuple[Node, Node]) -> None:
    prober, payee = two
    seen = {
        name: probe(world, prober, payee, make(payee, world), number)
        for number, (name, make) in enumerate(PROBES.items())
    }
    unknown = seen["unknown"]
    for name, found in seen.items():
        assert found.answer == unknown.answer, name
        assert found.said == unknown.said, name
        assert found.written == unknown.written, name
    length = int.from_bytes(unknown.answer[:2], "big")
    assert Failure.decode(unknown.answer[2 : 2 + length]) == (
        Failure.incorrect_or_unknown_payment_details(HTLC_MSAT, world.height)
    )
    # The same probes that are right in all do arrive: nothing of the above fails for another reason.
    payment_hash, secret = _invoice(payee, world, HTLC_MSAT)
    good = Payment(PaymentId(sha256(b"good")), payment_hash, PaymentPreimage(bytes(32)), secret, HTLC_MSAT)
    world.send(good, prober, world.route([world.path([prober, payee], HTLC_MSAT)], payee))
    world.settle()
    assert payee.one_event(ev.PaymentClaimable).payment_hash == payment_hash
    payee.manager.fail_htlc_backwards(payment_hash)
    world.settle()
    prober.take_events()
    payee.take_events()


def test_a_payment_that_waits_is_told_to_nobody(world: World, two: tuple[Node, Node]) -> None:
    """Its hash is known, and it is complete: who lacks the secret gets the answer for the unknown."""
    prober, payee = two
    owner = world.node("owner", config())
    world.open_channel(owner, payee, 1_000_000)
    payment = world.invoice(payee, HTLC_MSAT)
    world.send(payment, owner, world.route([world.path([owner, payee], HTLC_MSAT)], payee))
    world.settle()
    payee.one_event(ev.PaymentClaimable)
    unknown = probe(world, prober, payee, _unknown(payee, world), 1)
    wrong = Probe(payment.payment_hash, PaymentSecret(sha256(b"wrong")))
    assert probe(world, prober, payee, wrong, 2) == unknown
    # Nor does one who has it learn more by sending once more.
    assert probe(world, prober, payee, Probe(payment.payment_hash, payment.payment_secret), 3) == unknown
    assert payee.manager.is_claimable(payment.payment_hash)
    world.claim([owner, payee], payment)


def test_what_our_own_rules_refuse_is_refused_alike(world: World, two: tuple[Node, Node]) -> None:
    """Too near its expiry: BOLT 4 gives it the same code, and it is judged before the secret is."""
    prober, payee = two
    seen: list[Seen] = []
    for number, make in enumerate((_unknown, _wrong_secret, _known(lambda p, w: _invoice(p, w, HTLC_MSAT)))):
        sent = make(payee, world)
        real = payee.manager._best_height
        # As if forty blocks had come to the payee alone while the HTLC was on its way.
        payee.manager._best_height = real + 40
        try:
            seen.append(probe(world, prober, payee, sent, 10 + number))
        finally:
            payee.manager._best_height = real
    assert seen[0] == seen[1] == seen[2]
    length = int.from_bytes(seen[0].answer[:2], "big")
    failure = Failure.decode(seen[0].answer[2 : 2 + length])
    assert failure.code == FailureCode.INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS
