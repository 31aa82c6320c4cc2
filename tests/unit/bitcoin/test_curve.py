"""The curve face: refusals, agreement with libwally, and nothing that reaches the library unchecked."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import wallycore
from hypothesis import given
from hypothesis import strategies as st

from wallet.bitcoin import curve
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import sha256

ORDER = curve.GROUP_ORDER
secrets = st.integers(1, ORDER - 1).map(lambda n: n.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32)
G = curve.pubkey_from_secret((1).to_bytes(32, "big"))


def high_s(signature: bytes) -> bytes:
    return signature[:32] + (ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")


@given(secrets, digests)
def test_agrees_with_libwally(secret: bytes, digest: bytes) -> None:
    pubkey = curve.pubkey_from_secret(secret)
    assert pubkey == wallycore.ec_public_key_from_private_key(secret)
    signature = curve.sign_ecdsa(digest, secret)
    assert signature == wallycore.ec_sig_from_bytes(secret, digest, wallycore.EC_FLAG_ECDSA)
    low_r = curve.sign_ecdsa_low_r(digest, secret)
    assert low_r == wallycore.ec_sig_from_bytes(
        secret, digest, wallycore.EC_FLAG_ECDSA | wallycore.EC_FLAG_GRIND_R
    )
    assert low_r[0] < 0x80
    assert curve.signature_to_der(signature) == wallycore.ec_sig_to_der(signature)
    assert len(curve.signature_to_der(low_r)) <= 70
    for each in (signature, low_r):
        assert curve.verify_ecdsa(each, digest, pubkey)
        assert curve.signature_from_der(curve.signature_to_der(each)) == each


@given(secrets, secrets)
def test_ecdh_is_the_hash_of_the_shared_point(ours: bytes, theirs: bytes) -> None:
    our_pubkey, their_pubkey = curve.pubkey_from_secret(ours), curve.pubkey_from_secret(theirs)
    shared = curve.ecdh(ours, their_pubkey)
    assert shared == curve.ecdh(theirs, our_pubkey) == wallycore.ecdh(their_pubkey, ours)
    assert shared == sha256(curve.pubkey_tweak_mul(our_pubkey, theirs))


@given(secrets, secrets)
def test_tweaks_commute_with_keys(secret: bytes, tweak: bytes) -> None:
    pubkey = curve.pubkey_from_secret(secret)
    if int.from_bytes(secret, "big") + int.from_bytes(tweak, "big") == ORDER:
        return
    added = curve.secret_tweak_add(secret, tweak)
    assert curve.pubkey_from_secret(added) == curve.pubkey_tweak_add(pubkey, tweak)
    assert curve.pubkey_tweak_add(pubkey, tweak) == curve.pubkey_combine(
        pubkey, curve.pubkey_from_secret(tweak)
    )
    multiplied = curve.secret_tweak_mul(secret, tweak)
    assert curve.pubkey_from_secret(multiplied) == curve.pubkey_tweak_mul(pubkey, tweak)
    negated = curve.secret_negate(secret)
    assert curve.pubkey_from_secret(negated)[1:] == pubkey[1:]
    assert curve.pubkey_from_secret(negated)[0] == pubkey[0] ^ 1


@given(secrets, digests)
def test_signature_fails_for_anything_else(secret: bytes, seed: bytes) -> None:
    digest = sha256(seed)  # not zero: a signature of zero is good for a key and its negative alike
    pubkey = curve.pubkey_from_secret(secret)
    signature = curve.sign_ecdsa(digest, secret)
    flipped = bytes((digest[0] ^ 1,)) + digest[1:]
    assert not curve.verify_ecdsa(signature, flipped, pubkey)
    assert not curve.verify_ecdsa(signature, digest, bytes((pubkey[0] ^ 1,)) + pubkey[1:])
    # Whoever relays a transaction can turn S round: such signatures are not standard, and refused.
    assert not curve.verify_ecdsa(high_s(signature), digest, pubkey)


@given(st.binary(max_size=80), st.binary(max_size=40), st.binary(max_size=40))
def test_verify_never_raises(signature: bytes, digest: bytes, pubkey: bytes) -> None:
    assert curve.verify_ecdsa(signature, digest, pubkey) is False
    assert curve.verify_schnorr(signature, digest, pubkey) is False
    assert curve.is_valid_secret(pubkey) is (len(pubkey) == 32 and 0 < int.from_bytes(pubkey, "big") < ORDER)
    curve.is_valid_pubkey(pubkey)


@given(st.binary(max_size=80))
def test_der_is_strict(der: bytes) -> None:
    try:
        compact = curve.signature_from_der(der)
    except DecodeError:
        return
    assert curve.signature_to_der(compact) == der


@given(secrets, digests, st.data())
def test_der_altered(secret: bytes, digest: bytes, data: st.DataObject) -> None:
    der = curve.signature_to_der(curve.sign_ecdsa(digest, secret))
    position = data.draw(st.integers(0, len(der) - 1))
    altered = der[:position] + bytes((der[position] ^ data.draw(st.integers(1, 255)),)) + der[position + 1 :]
    for candidate in (altered, der[:-1], der + b"\x00", der[:position]):
        try:
            compact = curve.signature_from_der(candidate)
        except DecodeError:
            continue
        assert curve.signature_to_der(compact) == candidate


@given(secrets, digests)
def test_recovery(secret: bytes, digest: bytes) -> None:
    signed = curve.sign_recoverable(digest, secret)
    assert len(signed) == 65
    assert signed[:64] == curve.sign_ecdsa(digest, secret)
    assert curve.recover_pubkey(signed[:64], signed[64], digest) == curve.pubkey_from_secret(secret)
    # The other point with the same S: recovery names some other key, or none.
    try:
        other = curve.recover_pubkey(signed[:64], signed[64] ^ 1, digest)
    except DecodeError:
        return
    assert other != curve.pubkey_from_secret(secret)


@given(secrets, st.binary(max_size=32))
def test_taproot_key_path(secret: bytes, root_seed: bytes) -> None:
    root = sha256(root_seed) if root_seed else b""
    output, _ = curve.taproot_tweak_pubkey(curve.xonly(curve.pubkey_from_secret(secret)), root)
    tweaked = curve.taproot_tweak_secret(secret, root)
    assert curve.xonly(curve.pubkey_from_secret(tweaked)) == output
    digest = sha256(secret)
    assert curve.verify_schnorr(curve.sign_schnorr(digest, tweaked), digest, output)


def test_batches() -> None:
    pairs = [(sha256(bytes((n,))), bytes((n + 1,)) * 32) for n in range(10)]
    signatures = curve.sign_ecdsa_many(pairs)
    assert signatures == [curve.sign_ecdsa(digest, secret) for digest, secret in pairs]
    triples = [
        (signature, digest, curve.pubkey_from_secret(secret))
        for signature, (digest, secret) in zip(signatures, pairs, strict=True)
    ]
    assert curve.verify_ecdsa_many(triples)
    assert curve.verify_ecdsa_many([])
    triples[7] = (triples[7][0], triples[6][1], triples[7][2])
    assert not curve.verify_ecdsa_many(triples)


INVALID_SECRETS = [b"", bytes(31), bytes(32), bytes(33), ORDER.to_bytes(32, "big"), b"\xff" * 32]
INVALID_PUBKEYS = [
    b"",
    bytes(33),
    G[:-1],
    G + b"\x00",
    b"\x04" + G[1:],
    b"\x05" + G[1:],
    b"\x02" + b"\xff" * 32,
    b"\x02" + bytes(31) + b"\x07",  # no point has this x
    bytes(wallycore.ec_public_key_decompress(G)),
]


@pytest.mark.parametrize("secret", INVALID_SECRETS, ids=range(len(INVALID_SECRETS)))
def test_invalid_secrets(secret: bytes) -> None:
    digest, good = bytes(32), bytes(31) + b"\x01"
    assert not curve.is_valid_secret(secret)
    calls: list[Callable[[], object]] = [
        lambda: curve.pubkey_from_secret(secret),
        lambda: curve.ecdh(secret, G),
        lambda: curve.sign_ecdsa(digest, secret),
        lambda: curve.sign_ecdsa_low_r(digest, secret),
        lambda: curve.sign_ecdsa_many([(digest, secret)]),
        lambda: curve.sign_recoverable(digest, secret),
        lambda: curve.sign_schnorr(digest, secret),
        lambda: curve.secret_negate(secret),
        lambda: curve.secret_tweak_add(secret, good),
        lambda: curve.secret_tweak_mul(good, secret),
        lambda: curve.taproot_tweak_secret(secret),
    ]
    for call in calls:
        with pytest.raises(DecodeError):
            call()


@pytest.mark.parametrize("pubkey", INVALID_PUBKEYS, ids=range(len(INVALID_PUBKEYS)))
def test_invalid_pubkeys(pubkey: bytes) -> None:
    good = bytes(31) + b"\x01"
    assert not curve.is_valid_pubkey(pubkey)
    calls: list[Callable[[], object]] = [
        lambda: curve.ecdh(good, pubkey),
        lambda: curve.pubkey_tweak_add(pubkey, good),
        lambda: curve.pubkey_tweak_mul(pubkey, good),
        lambda: curve.pubkey_combine(G, pubkey),
        lambda: curve.xonly(pubkey),
    ]
    for call in calls:
        with pytest.raises(DecodeError):
            call()
    assert not curve.verify_ecdsa(curve.sign_ecdsa(bytes(32), good), bytes(32), pubkey)


def invalid_calls() -> list[Callable[[], object]]:
    one, minus_one = (1).to_bytes(32, "big"), (ORDER - 1).to_bytes(32, "big")
    negative = curve.pubkey_from_secret(minus_one)
    return [
        lambda: curve.secret_tweak_add(one, minus_one),
        lambda: curve.pubkey_tweak_add(G, minus_one),
        lambda: curve.pubkey_combine(G, negative),
        lambda: curve.pubkey_combine(),
        lambda: curve.secret_tweak_mul(one, bytes(32)),
        lambda: curve.pubkey_tweak_mul(G, bytes(32)),
        lambda: curve.secret_tweak_add(one, b"\xff" * 32),
        lambda: curve.secret_tweak_add(one, bytes(31)),
        lambda: curve.pubkey_tweak_add(G, bytes(33)),
        lambda: curve.sign_ecdsa(bytes(31), one),
        lambda: curve.sign_schnorr(bytes(32), one, bytes(31)),
        lambda: curve.signature_to_der(bytes(63)),
        lambda: curve.signature_to_der(b"\xff" * 64),
        lambda: curve.recover_pubkey(bytes(64), 0, bytes(32)),
        lambda: curve.recover_pubkey(bytes(64), 4, bytes(32)),
        lambda: curve.recover_pubkey(bytes(64), -1, bytes(32)),
        lambda: curve.recover_pubkey(bytes(63), 0, bytes(32)),
        lambda: curve.recover_pubkey(bytes(64), 0, bytes(31)),
        lambda: curve.taproot_tweak_pubkey(G),
        lambda: curve.taproot_tweak_pubkey(b"\xff" * 32),
    ]


@pytest.mark.parametrize("call", invalid_calls(), ids=range(len(invalid_calls())))
def test_results_that_do_not_exist(call: Callable[[], object]) -> None:
    with pytest.raises(DecodeError):
        call()


def test_adding_nothing_is_allowed() -> None:
    one = (1).to_bytes(32, "big")
    assert curve.secret_tweak_add(one, bytes(32)) == one


def test_threads_do_not_disturb_each_other() -> None:
    wrong: list[int] = []

    def work(n: int) -> None:
        secret = bytes((n,)) * 32
        pubkey = curve.pubkey_from_secret(secret)
        for turn in range(100):
            digest = sha256(bytes((n, turn)))
            if not curve.verify_ecdsa(curve.sign_ecdsa(digest, secret), digest, pubkey):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_functions_for_compiled_code_exist() -> None:
    assert curve.function_address("secp256k1_ecdsa_verify") > 0
