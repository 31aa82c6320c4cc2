"""What a node says when it cannot carry or accept a payment: codes and their data. BOLT 4, failure messages.

A `Failure` keeps what was received byte for byte, unknown codes included; what this program knows of it is
read by properties that answer None instead of raising, because the data comes from strangers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from wallet.i18n import _
from wallet.ln.types import DecodeError
from wallet.ln.wire import Reader, Writer

__all__ = ["BADONION", "NODE", "PERM", "UPDATE", "Failure", "FailureCode", "failure_sentence"]

# BOLT 4, failure messages: flags in the top byte.
BADONION: Final = 0x8000
PERM: Final = 0x4000
NODE: Final = 0x2000
UPDATE: Final = 0x1000


class FailureCode(IntEnum):
    """BOLT 4, failure messages; those that only old nodes send are at the end."""

    TEMPORARY_NODE_FAILURE = NODE | 2
    PERMANENT_NODE_FAILURE = PERM | NODE | 2
    REQUIRED_NODE_FEATURE_MISSING = PERM | NODE | 3
    INVALID_ONION_VERSION = BADONION | PERM | 4
    INVALID_ONION_HMAC = BADONION | PERM | 5
    INVALID_ONION_KEY = BADONION | PERM | 6
    TEMPORARY_CHANNEL_FAILURE = UPDATE | 7
    PERMANENT_CHANNEL_FAILURE = PERM | 8
    REQUIRED_CHANNEL_FEATURE_MISSING = PERM | 9
    UNKNOWN_NEXT_PEER = PERM | 10
    AMOUNT_BELOW_MINIMUM = UPDATE | 11
    FEE_INSUFFICIENT = UPDATE | 12
    INCORRECT_CLTV_EXPIRY = UPDATE | 13
    EXPIRY_TOO_SOON = UPDATE | 14
    INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS = PERM | 15
    FINAL_INCORRECT_CLTV_EXPIRY = 18
    FINAL_INCORRECT_HTLC_AMOUNT = 19
    CHANNEL_DISABLED = UPDATE | 20
    EXPIRY_TOO_FAR = 21
    INVALID_ONION_PAYLOAD = PERM | 22
    MPP_TIMEOUT = 23
    INVALID_ONION_BLINDING = BADONION | PERM | 24
    INCORRECT_PAYMENT_AMOUNT = PERM | 16
    FINAL_EXPIRY_TOO_SOON = 17


def _sentences() -> dict[FailureCode, str]:
    return {
        FailureCode.TEMPORARY_NODE_FAILURE: _("The node has a passing problem."),
        FailureCode.PERMANENT_NODE_FAILURE: _("The node is out of service."),
        FailureCode.REQUIRED_NODE_FEATURE_MISSING: _(
            "The node requires a feature that this payment does not use."
        ),
        FailureCode.INVALID_ONION_VERSION: _("The next node did not know the version of the routing packet."),
        FailureCode.INVALID_ONION_HMAC: _("The next node found the routing packet damaged."),
        FailureCode.INVALID_ONION_KEY: _("The next node could not read the routing packet's key."),
        FailureCode.TEMPORARY_CHANNEL_FAILURE: _("The channel could not carry this amount now."),
        FailureCode.PERMANENT_CHANNEL_FAILURE: _("The channel is closed or closing."),
        FailureCode.REQUIRED_CHANNEL_FEATURE_MISSING: _(
            "The channel requires a feature that this payment does not use."
        ),
        FailureCode.UNKNOWN_NEXT_PEER: _("The node is not connected to the next one, or does not know it."),
        FailureCode.AMOUNT_BELOW_MINIMUM: _("The amount is below the channel's minimum."),
        FailureCode.FEE_INSUFFICIENT: _("The node has raised its fee."),
        FailureCode.INCORRECT_CLTV_EXPIRY: _("The node asks for a longer time limit."),
        FailureCode.EXPIRY_TOO_SOON: _("The payment's time limit was too close to be safe for the node."),
        FailureCode.INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS: _(
            "The payee does not know this payment, was paid already, or finds the amount or time limit wrong."
        ),
        FailureCode.FINAL_INCORRECT_CLTV_EXPIRY: _(
            "The last node passed on a shorter time limit than was set."
        ),
        FailureCode.FINAL_INCORRECT_HTLC_AMOUNT: _("The last node passed on less than it was given."),
        FailureCode.CHANNEL_DISABLED: _("The channel is switched off for now."),
        FailureCode.EXPIRY_TOO_FAR: _("The payment's time limit was too far away for the node."),
        FailureCode.INVALID_ONION_PAYLOAD: _("The node could not make sense of its instructions."),
        FailureCode.MPP_TIMEOUT: _("The payee waited in vain for the other parts of the payment."),
        FailureCode.INVALID_ONION_BLINDING: _("The payment failed inside the payee's hidden path."),
        FailureCode.INCORRECT_PAYMENT_AMOUNT: _("The payee did not accept the amount."),
        FailureCode.FINAL_EXPIRY_TOO_SOON: _("The payment's time limit was too close for the payee."),
    }


# What stands in front of the length-prefixed channel_update, in bytes.
_BYTES_BEFORE_CHANNEL_UPDATE: Final[dict[int, int]] = {
    FailureCode.TEMPORARY_CHANNEL_FAILURE: 0,
    FailureCode.AMOUNT_BELOW_MINIMUM: 8,
    FailureCode.FEE_INSUFFICIENT: 8,
    FailureCode.INCORRECT_CLTV_EXPIRY: 4,
    FailureCode.EXPIRY_TOO_SOON: 0,
    FailureCode.CHANNEL_DISABLED: 2,
}


def failure_sentence(code: int) -> str:
    """Say in plain words what a failure code means."""
    try:
        return _sentences()[FailureCode(code)]
    except ValueError:
        return _("The node gave an unknown reason (code {code}).").format(code=f"{code:#06x}")


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure message: its code, and the data that follows the code.

    Attributes:
        code: `FailureCode` where known.
        data: everything after the code, extra bytes and TLVs of the sender included.
    """

    code: int
    data: bytes = b""

    # --- reading ---

    @classmethod
    def decode(cls, raw: bytes) -> Failure:
        if len(raw) < 2:
            raise DecodeError("A failure message needs a code.")
        return cls(int.from_bytes(raw[:2], "big"), raw[2:])

    def encode(self) -> bytes:
        return self.code.to_bytes(2, "big") + self.data

    @property
    def is_permanent(self) -> bool:
        return bool(self.code & PERM)

    @property
    def is_node(self) -> bool:
        return bool(self.code & NODE)

    @property
    def is_bad_onion(self) -> bool:
        return bool(self.code & BADONION)

    @property
    def sentence(self) -> str:
        return failure_sentence(self.code)

    @property
    def channel_update(self) -> bytes | None:
        """The update that the node sent along: maybe empty; None when missing or cut short.

        It must not enter the graph. BOLT 4, receiving failure codes.
        """
        before = _BYTES_BEFORE_CHANNEL_UPDATE.get(self.code)
        if before is None:
            return None
        length = int.from_bytes(self.data[before : before + 2], "big")
        update = self.data[before + 2 : before + 2 + length]
        return update if len(self.data) >= before + 2 + length else None

    @property
    def payee_height(self) -> int | None:
        """The block height that the payee saw, in incorrect_or_unknown_payment_details."""
        if self.code != FailureCode.INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS or len(self.data) < 12:
            return None
        return Reader(self.data, 8).u32()

    # --- writing ---

    @classmethod
    def temporary_node_failure(cls) -> Failure:
        return cls(FailureCode.TEMPORARY_NODE_FAILURE)

    @classmethod
    def permanent_node_failure(cls) -> Failure:
        return cls(FailureCode.PERMANENT_NODE_FAILURE)

    @classmethod
    def temporary_channel_failure(cls, channel_update: bytes = b"") -> Failure:
        """BOLT 4: the update may stay empty, and should, as it tells who we are."""
        return cls(FailureCode.TEMPORARY_CHANNEL_FAILURE, Writer().u16_bytes(channel_update).getvalue())

    @classmethod
    def permanent_channel_failure(cls) -> Failure:
        return cls(FailureCode.PERMANENT_CHANNEL_FAILURE)

    @classmethod
    def unknown_next_peer(cls) -> Failure:
        return cls(FailureCode.UNKNOWN_NEXT_PEER)

    @classmethod
    def amount_below_minimum(cls, htlc_msat: int, channel_update: bytes = b"") -> Failure:
        data = Writer().u64(htlc_msat).u16_bytes(channel_update).getvalue()
        return cls(FailureCode.AMOUNT_BELOW_MINIMUM, data)

    @classmethod
    def fee_insufficient(cls, htlc_msat: int, channel_update: bytes = b"") -> Failure:
        data = Writer().u64(htlc_msat).u16_bytes(channel_update).getvalue()
        return cls(FailureCode.FEE_INSUFFICIENT, data)

    @classmethod
    def incorrect_cltv_expiry(cls, cltv_expiry_height: int, channel_update: bytes = b"") -> Failure:
        data = Writer().u32(cltv_expiry_height).u16_bytes(channel_update).getvalue()
        return cls(FailureCode.INCORRECT_CLTV_EXPIRY, data)

    @classmethod
    def expiry_too_soon(cls, channel_update: bytes = b"") -> Failure:
        return cls(FailureCode.EXPIRY_TOO_SOON, Writer().u16_bytes(channel_update).getvalue())

    @classmethod
    def expiry_too_far(cls) -> Failure:
        return cls(FailureCode.EXPIRY_TOO_FAR)

    @classmethod
    def channel_disabled(cls, channel_update: bytes = b"") -> Failure:
        # BOLT 4: no disabled_flags are defined, so they are two zero bytes.
        return cls(FailureCode.CHANNEL_DISABLED, Writer().u16(0).u16_bytes(channel_update).getvalue())

    @classmethod
    def incorrect_or_unknown_payment_details(cls, htlc_msat: int, best_height: int) -> Failure:
        data = Writer().u64(htlc_msat).u32(best_height).getvalue()
        return cls(FailureCode.INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS, data)

    @classmethod
    def final_incorrect_cltv_expiry(cls, cltv_expiry_height: int) -> Failure:
        return cls(FailureCode.FINAL_INCORRECT_CLTV_EXPIRY, Writer().u32(cltv_expiry_height).getvalue())

    @classmethod
    def final_incorrect_htlc_amount(cls, htlc_msat: int) -> Failure:
        return cls(FailureCode.FINAL_INCORRECT_HTLC_AMOUNT, Writer().u64(htlc_msat).getvalue())

    @classmethod
    def invalid_onion_payload(cls, tlv_type: int = 0, offset: int = 0) -> Failure:
        return cls(FailureCode.INVALID_ONION_PAYLOAD, Writer().bigsize(tlv_type).u16(offset).getvalue())

    @classmethod
    def mpp_timeout(cls) -> Failure:
        return cls(FailureCode.MPP_TIMEOUT)

    @classmethod
    def bad_onion(cls, code: int, sha256_of_onion: bytes) -> Failure:
        """Turn a downstream peer's `update_fail_malformed_htlc` into an ordinary failure of ours.

        BOLT 2, update_fail_malformed_htlc, receiver: report the peer's code with its hash upstream.
        """
        return cls(code, sha256_of_onion)
