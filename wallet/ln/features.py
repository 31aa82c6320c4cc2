"""Feature bits of BOLT 9: their names, where each may stand, and what each depends on.

A feature is a pair of bits; `Feature` names it by its even number. The even bit says "required", the odd one
"supported". `Features` is an immutable set of bits held in one integer.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Flag, IntEnum, auto
from typing import Final

from wallet.bitcoin.errors import APIError

__all__ = [
    "ANCHORS_ZERO_FEE_HTLC_TX",
    "ANCHORS_ZERO_FEE_HTLC_TX_SCID_ALIAS",
    "ANCHORS_ZERO_FEE_HTLC_TX_ZEROCONF",
    "ANCHORS_ZERO_FEE_HTLC_TX_ZEROCONF_SCID_ALIAS",
    "NO_FEATURES",
    "STATIC_REMOTE_KEY",
    "STATIC_REMOTE_KEY_SCID_ALIAS",
    "STATIC_REMOTE_KEY_ZEROCONF",
    "STATIC_REMOTE_KEY_ZEROCONF_SCID_ALIAS",
    "ChannelTypeFeatures",
    "Feature",
    "FeatureContext",
    "Features",
    "feature_name",
]

MAX_FEATURE_BIT = 65_535 * 8 - 1
"""No message is long enough to carry a higher one."""


class FeatureContext(Flag):
    """Where a feature vector stands. BOLT 9 (letters in its table)."""

    INIT = auto()
    NODE = auto()
    CHANNEL = auto()
    INVOICE = auto()
    BLINDED_PATH = auto()
    CHANNEL_TYPE = auto()


class Feature(IntEnum):
    """The features this program knows by name; the value is the even (required) bit."""

    DATA_LOSS_PROTECT = 0
    UPFRONT_SHUTDOWN_SCRIPT = 4
    GOSSIP_QUERIES = 6
    VAR_ONION_OPTIN = 8
    GOSSIP_QUERIES_EX = 10
    STATIC_REMOTE_KEY = 12
    PAYMENT_SECRET = 14
    BASIC_MPP = 16
    SUPPORT_LARGE_CHANNEL = 18
    ANCHORS = 22
    ROUTE_BLINDING = 24
    SHUTDOWN_ANYSEGWIT = 26
    DUAL_FUND = 28
    QUIESCE = 34
    ATTRIBUTION_DATA = 36
    ONION_MESSAGES = 38
    PROVIDE_STORAGE = 42
    CHANNEL_TYPE = 44
    SCID_ALIAS = 46
    PAYMENT_METADATA = 48
    ZEROCONF = 50
    KEYSEND = 54
    SIMPLE_CLOSE = 60
    SPLICE = 62
    LSPS = 728

    @property
    def required_bit(self) -> int:
        return self.value

    @property
    def optional_bit(self) -> int:
        return self.value + 1


_I, _N, _C = FeatureContext.INIT, FeatureContext.NODE, FeatureContext.CHANNEL
_9, _B, _T = FeatureContext.INVOICE, FeatureContext.BLINDED_PATH, FeatureContext.CHANNEL_TYPE

# BOLT 9, the table; what it calls ASSUMED keeps the contexts of the revision that defined it, because nodes
# still send those bits, and may require them. Keysend is bLIP 3, LSPS bLIP 50.
_CONTEXTS: Final[dict[Feature, FeatureContext]] = {
    Feature.DATA_LOSS_PROTECT: _I | _N,
    Feature.UPFRONT_SHUTDOWN_SCRIPT: _I | _N,
    Feature.GOSSIP_QUERIES: _I | _N,
    Feature.VAR_ONION_OPTIN: _I | _N | _9,
    Feature.GOSSIP_QUERIES_EX: _I | _N,
    Feature.STATIC_REMOTE_KEY: _I | _N | _T,
    Feature.PAYMENT_SECRET: _I | _N | _9,
    Feature.BASIC_MPP: _I | _N | _9 | _B,
    Feature.SUPPORT_LARGE_CHANNEL: _I | _N,
    Feature.ANCHORS: _I | _N | _T,
    Feature.ROUTE_BLINDING: _I | _N | _9,
    Feature.SHUTDOWN_ANYSEGWIT: _I | _N,
    Feature.DUAL_FUND: _I | _N,
    Feature.QUIESCE: _I | _N,
    Feature.ATTRIBUTION_DATA: _I | _N | _9,
    Feature.ONION_MESSAGES: _I | _N,
    Feature.PROVIDE_STORAGE: _I | _N,
    Feature.CHANNEL_TYPE: _I | _N,
    Feature.SCID_ALIAS: _I | _N | _T,
    Feature.PAYMENT_METADATA: _9,
    Feature.ZEROCONF: _I | _N | _T,
    Feature.KEYSEND: _I | _N,
    Feature.SIMPLE_CLOSE: _I | _N,
    Feature.SPLICE: _I | _N,
    Feature.LSPS: _I | _N,
}

# BOLT 9, the table's last column.
_DEPENDENCIES: Final[dict[Feature, tuple[Feature, ...]]] = {
    Feature.BASIC_MPP: (Feature.PAYMENT_SECRET,),
    Feature.ZEROCONF: (Feature.SCID_ALIAS,),
    Feature.SIMPLE_CLOSE: (Feature.SHUTDOWN_ANYSEGWIT,),
}

_KNOWN_MASKS: Final[dict[FeatureContext, int]] = {
    context: sum(0b11 << feature for feature, contexts in _CONTEXTS.items() if context in contexts)
    for context in FeatureContext
}
# BOLT 9: in a blinded path, MPP is told by its bit alone; in a channel type, bits stand alone as well.
_CONTEXTS_WITHOUT_DEPENDENCIES: Final = FeatureContext.BLINDED_PATH | FeatureContext.CHANNEL_TYPE

_EVEN_BITS = int("01" * 4 * 65_535, 2)


class Features:
    """An immutable set of feature bits.

    Attributes:
        bits: the set as an integer; bit n of it is feature bit n.
    """

    __slots__ = ("bits",)

    bits: int

    def __init__(self, bits: Iterable[int] | int = 0) -> None:
        if not isinstance(bits, int):
            value = 0
            for bit in bits:
                if not 0 <= bit <= MAX_FEATURE_BIT:
                    raise APIError(f"There is no feature bit {bit}.")
                value |= 1 << bit
            bits = value
        elif bits < 0:
            raise APIError("A feature vector is not negative.")
        object.__setattr__(self, "bits", bits)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("Features are immutable.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("Features are immutable.")

    def __reduce__(self) -> tuple[type[Features], tuple[int]]:
        return (Features, (self.bits,))

    @classmethod
    def of(cls, *, required: Iterable[Feature] = (), optional: Iterable[Feature] = ()) -> Features:
        """Build a vector by feature rather than by bit."""
        return cls([f.required_bit for f in required] + [f.optional_bit for f in optional])

    @classmethod
    def from_bytes(cls, data: bytes) -> Features:
        """Read the wire form: big-endian, bit 0 last. Padding is accepted."""
        return cls(int.from_bytes(data, "big"))

    def to_bytes(self) -> bytes:
        """Write the wire form in as few bytes as hold it."""
        return self.bits.to_bytes((self.bits.bit_length() + 7) // 8, "big")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Features) and self.bits == other.bits

    def __hash__(self) -> int:
        return hash(self.bits)

    def __bool__(self) -> bool:
        return self.bits != 0

    def __or__(self, other: Features) -> Features:
        return Features(self.bits | other.bits)

    def __repr__(self) -> str:
        return f"Features({self.set_bits()!r})"

    def set_bits(self) -> list[int]:
        """All bits that are set, ascending."""
        # By way of text, because clearing bit by bit is quadratic, and a peer chooses the length.
        return [bit for bit, digit in enumerate(f"{self.bits:b}"[::-1]) if digit == "1"]

    def supports(self, feature: Feature) -> bool:
        """Tell whether the feature is offered, as required or as optional."""
        return bool(self.bits >> feature & 0b11)

    def requires(self, feature: Feature) -> bool:
        """Tell whether the feature is required. BOLT 9: both bits set count as required."""
        return bool(self.bits >> feature & 1)

    def with_required(self, *features: Feature) -> Features:
        """Add features as required (and only so)."""
        bits = self.bits
        for feature in features:
            bits = bits & ~(0b11 << feature) | 1 << feature
        return Features(bits)

    def with_optional(self, *features: Feature) -> Features:
        """Add features as optional (and only so)."""
        bits = self.bits
        for feature in features:
            bits = bits & ~(0b11 << feature) | 0b10 << feature
        return Features(bits)

    def without(self, *features: Feature) -> Features:
        bits = self.bits
        for feature in features:
            bits &= ~(0b11 << feature)
        return Features(bits)

    def restricted_to(self, context: FeatureContext) -> Features:
        """Keep what BOLT 9 lets stand in `context`."""
        return Features(self.bits & _KNOWN_MASKS[context])

    def unknown_required(self, context: FeatureContext) -> tuple[int, ...]:
        """List the even bits that this program does not know in `context`."""
        unknown = self.bits & _EVEN_BITS & ~_KNOWN_MASKS[context]
        # Gossip asks a hundred thousand times, and has none.
        return tuple(Features(unknown).set_bits()) if unknown else ()

    def required_but_not_in(self, ours: Features) -> tuple[int, ...]:
        """List the even bits here whose feature `ours` does not offer; empty means we can talk."""
        offered = ours.bits
        pairs = (offered | offered >> 1) & _EVEN_BITS
        return tuple(Features(self.bits & _EVEN_BITS & ~pairs).set_bits())

    def missing_dependencies(self, context: FeatureContext = FeatureContext.INIT) -> tuple[Feature, ...]:
        """List known features that a set feature depends on and that are absent, transitively."""
        if context in _CONTEXTS_WITHOUT_DEPENDENCIES:
            return ()
        missing: list[Feature] = []
        for feature, needs in _DEPENDENCIES.items():
            if self.supports(feature):
                missing += [need for need in needs if not self.supports(need)]
        return tuple(dict.fromkeys(missing))

    def negotiated_with(self, theirs: Features, feature: Feature) -> bool:
        """Tell whether a feature may be used with a peer whose `init` said `theirs`. BOLT 1, init."""
        return self.requires(feature) or (self.supports(feature) and theirs.supports(feature))


def feature_name(bit: int) -> str:
    """Name a bit for the log: the feature it belongs to, or its number."""
    try:
        return f"{Feature(bit & ~1).name.lower()} ({bit})"
    except ValueError:
        return f"bit {bit}"


NO_FEATURES: Final = Features()


class ChannelTypeFeatures(Features):
    """The features that make up a `channel_type`: even bits only. BOLT 2, open_channel.

    It equals any `Features` of the same bits.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[type[Features], tuple[int]]:
        return (ChannelTypeFeatures, (self.bits,))

    @classmethod
    def from_bytes(cls, data: bytes) -> ChannelTypeFeatures:
        return cls(int.from_bytes(data, "big"))

    @property
    def anchors(self) -> bool:
        return self.requires(Feature.ANCHORS)

    @property
    def scid_privacy(self) -> bool:
        return self.requires(Feature.SCID_ALIAS)

    @property
    def zeroconf(self) -> bool:
        return self.requires(Feature.ZEROCONF)

    @property
    def is_known(self) -> bool:
        """Tell whether this is one of the combinations that BOLT 2 defines."""
        return self.bits in _KNOWN_CHANNEL_TYPES


def _channel_type(*features: Feature) -> ChannelTypeFeatures:
    return ChannelTypeFeatures(list(features))


# BOLT 2, open_channel, "defined channel types".
STATIC_REMOTE_KEY: Final = _channel_type(Feature.STATIC_REMOTE_KEY)
STATIC_REMOTE_KEY_SCID_ALIAS: Final = _channel_type(Feature.STATIC_REMOTE_KEY, Feature.SCID_ALIAS)
STATIC_REMOTE_KEY_ZEROCONF: Final = _channel_type(Feature.STATIC_REMOTE_KEY, Feature.ZEROCONF)
STATIC_REMOTE_KEY_ZEROCONF_SCID_ALIAS: Final = _channel_type(
    Feature.STATIC_REMOTE_KEY, Feature.ZEROCONF, Feature.SCID_ALIAS
)
ANCHORS_ZERO_FEE_HTLC_TX: Final = _channel_type(Feature.STATIC_REMOTE_KEY, Feature.ANCHORS)
ANCHORS_ZERO_FEE_HTLC_TX_SCID_ALIAS: Final = _channel_type(
    Feature.STATIC_REMOTE_KEY, Feature.ANCHORS, Feature.SCID_ALIAS
)
ANCHORS_ZERO_FEE_HTLC_TX_ZEROCONF: Final = _channel_type(
    Feature.STATIC_REMOTE_KEY, Feature.ANCHORS, Feature.ZEROCONF
)
ANCHORS_ZERO_FEE_HTLC_TX_ZEROCONF_SCID_ALIAS: Final = _channel_type(
    Feature.STATIC_REMOTE_KEY, Feature.ANCHORS, Feature.ZEROCONF, Feature.SCID_ALIAS
)

_KNOWN_CHANNEL_TYPES: Final = frozenset(
    channel_type.bits
    for channel_type in (
        STATIC_REMOTE_KEY,
        STATIC_REMOTE_KEY_SCID_ALIAS,
        STATIC_REMOTE_KEY_ZEROCONF,
        STATIC_REMOTE_KEY_ZEROCONF_SCID_ALIAS,
        ANCHORS_ZERO_FEE_HTLC_TX,
        ANCHORS_ZERO_FEE_HTLC_TX_SCID_ALIAS,
        ANCHORS_ZERO_FEE_HTLC_TX_ZEROCONF,
        ANCHORS_ZERO_FEE_HTLC_TX_ZEROCONF_SCID_ALIAS,
    )
)
