"""Feature vectors: what is offered, required, unknown, and what depends on what."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet.bitcoin.errors import APIError
from wallet.ln.features import (
    ANCHORS_ZERO_FEE_HTLC_TX,
    STATIC_REMOTE_KEY,
    ChannelTypeFeatures,
    Feature,
    FeatureContext,
    Features,
    feature_name,
)


@given(st.sets(st.integers(0, 600)))
def test_there_and_back(bits: set[int]) -> None:
    features = Features(bits)
    assert features.set_bits() == sorted(bits)
    assert Features.from_bytes(features.to_bytes()) == features
    assert Features.from_bytes(b"\x00\x00" + features.to_bytes()) == features
    assert not features.to_bytes().startswith(b"\x00")


def test_offered_and_required() -> None:
    features = Features.of(required=[Feature.STATIC_REMOTE_KEY], optional=[Feature.ANCHORS])
    assert features.set_bits() == [12, 23]
    assert features.supports(Feature.STATIC_REMOTE_KEY)
    assert features.requires(Feature.STATIC_REMOTE_KEY)
    assert features.supports(Feature.ANCHORS)
    assert not features.requires(Feature.ANCHORS)
    assert not features.supports(Feature.ZEROCONF)
    # BOLT 9: both bits of a pair count as required.
    assert Features([22, 23]).requires(Feature.ANCHORS)
    assert features.with_required(Feature.ANCHORS).set_bits() == [12, 22]
    assert features.with_optional(Feature.STATIC_REMOTE_KEY).set_bits() == [13, 23]
    assert features.without(Feature.ANCHORS).set_bits() == [12]


def test_unknown_required() -> None:
    assert Features([0, 1, 101, 100, 1000]).unknown_required(FeatureContext.INIT) == (100, 1000)
    # A payer must understand a required feature of the invoice; that it exists elsewhere is no help.
    assert Features([18]).unknown_required(FeatureContext.INVOICE) == (18,)
    assert Features([2**16]).unknown_required(FeatureContext.CHANNEL) == (65_536,)


def test_the_longest_vector_is_judged_in_no_time() -> None:
    longest = Features.from_bytes(b"\xff" * 65_535)
    assert len(longest.unknown_required(FeatureContext.INIT)) > 262_000
    assert longest.missing_dependencies() == ()


def test_required_but_not_in() -> None:
    ours = Features([13, 22])
    assert Features([12, 22, 24, 55]).required_but_not_in(ours) == (24,)
    assert Features([25]).required_but_not_in(ours) == ()


def test_dependencies() -> None:
    assert Features([51]).missing_dependencies() == (Feature.SCID_ALIAS,)
    assert Features([51, 46]).missing_dependencies() == ()
    assert Features([17]).missing_dependencies(FeatureContext.INVOICE) == (Feature.PAYMENT_SECRET,)
    assert Features([61]).missing_dependencies() == (Feature.SHUTDOWN_ANYSEGWIT,)
    assert Features([50]).missing_dependencies(FeatureContext.CHANNEL_TYPE) == ()


def test_negotiated() -> None:
    ours = Features.of(required=[Feature.CHANNEL_TYPE], optional=[Feature.ANCHORS, Feature.ZEROCONF])
    theirs = Features.of(optional=[Feature.ANCHORS])
    assert ours.negotiated_with(theirs, Feature.ANCHORS)
    assert not ours.negotiated_with(theirs, Feature.ZEROCONF)
    assert ours.negotiated_with(theirs, Feature.CHANNEL_TYPE)


def test_immutable_hashable_copyable() -> None:
    features = Features([1])
    with pytest.raises(AttributeError):
        features.bits = 5
    assert len({features, Features([1]), Features(2)}) == 1
    assert pickle.loads(pickle.dumps(features)) == features
    with pytest.raises(APIError):
        Features([-1])
    with pytest.raises(APIError):
        Features(-1)


def test_channel_types() -> None:
    assert STATIC_REMOTE_KEY.to_bytes().hex() == "1000"
    assert ANCHORS_ZERO_FEE_HTLC_TX.to_bytes().hex() == "401000"
    assert ANCHORS_ZERO_FEE_HTLC_TX.anchors
    decoded = ChannelTypeFeatures.from_bytes(bytes.fromhex("401000"))
    assert decoded == ANCHORS_ZERO_FEE_HTLC_TX
    assert decoded.is_known
    assert not decoded.scid_privacy
    assert not ChannelTypeFeatures([12, 13]).is_known
    assert pickle.loads(pickle.dumps(decoded)).anchors


def test_names() -> None:
    assert feature_name(23) == "anchors (23)"
    assert feature_name(2001) == "bit 2001"
