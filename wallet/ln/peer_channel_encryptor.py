"""The encrypted transport of BOLT 8 as a machine of bytes in and bytes out.

Theory of operation. The handshake is Noise_XK in three acts. Both sides keep a digest `h` of all that was
said and a chaining key `ck`, into which each shared secret is mixed; each act ends with the MAC of nothing,
keyed by `ck` and bound to `h`, which proves that the other side knows the same. After act three `ck` yields
one key for each direction. A message is then two ciphertexts: its length in two bytes, and itself. Each
takes one nonce; at nonce 1000 the key is replaced by a hash of itself, so that a key that leaks opens
nothing older.

The calls must come in the order of the acts; one out of order is an `APIError`. Whatever the peer sends
that is wrong is a `DecodeError`, after which the connection has to be dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from wallet.bitcoin import curve
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.hashes import hkdf_sha256, sha256
from wallet.ln.types import NodeId

__all__ = [
    "ACT_ONE_LENGTH",
    "ACT_THREE_LENGTH",
    "ACT_TWO_LENGTH",
    "LENGTH_HEADER_LENGTH",
    "MAC_LENGTH",
    "PeerChannelEncryptor",
]

ACT_ONE_LENGTH: Final = 50
ACT_TWO_LENGTH: Final = 50
ACT_THREE_LENGTH: Final = 66
MAC_LENGTH: Final = 16
LENGTH_HEADER_LENGTH: Final = 2 + MAC_LENGTH
MAX_PLAINTEXT_LENGTH: Final = 65_535
NONCES_PER_KEY: Final = 1000
"""BOLT 8, key rotation."""

_HANDSHAKE_VERSION: Final = 0
# BOLT 8, handshake state initialisation: the same for everybody, up to the responder's key.
_INITIAL_CK: Final = sha256(b"Noise_XK_secp256k1_ChaChaPoly_SHA256")
_INITIAL_H: Final = sha256(_INITIAL_CK + b"lightning")


class _State(Enum):
    """What comes next."""

    SEND_ACT_ONE = auto()
    AWAIT_ACT_ONE = auto()
    AWAIT_ACT_TWO = auto()
    AWAIT_ACT_THREE = auto()
    FINISHED = auto()
    FAILED = auto()


def _nonce(counter: int) -> bytes:
    return bytes(4) + counter.to_bytes(8, "little")


def _seal(key: bytes, counter: int, associated: bytes, plaintext: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(_nonce(counter), plaintext, associated)


def _open(key: bytes, counter: int, associated: bytes, ciphertext: bytes) -> bytes:
    try:
        return ChaCha20Poly1305(key).decrypt(_nonce(counter), ciphertext, associated)
    except InvalidTag:
        raise DecodeError("The handshake failed: a MAC does not match.") from None


class _CipherState:
    """One direction: a key, its nonce counter, and the chaining key that the next key comes from."""

    __slots__ = ("_aead", "_chaining_key", "_key", "_nonce")

    def __init__(self, key: bytes, chaining_key: bytes) -> None:
        self._key = key
        self._chaining_key = chaining_key
        self._aead = ChaCha20Poly1305(key)
        self._nonce = 0

    def _advance(self) -> None:
        self._nonce += 1
        if self._nonce == NONCES_PER_KEY:
            mixed = hkdf_sha256(self._chaining_key, self._key)
            self._chaining_key, self._key = mixed[:32], mixed[32:]
            self._aead = ChaCha20Poly1305(self._key)
            self._nonce = 0

    def seal(self, plaintext: bytes) -> bytes:
        sealed = self._aead.encrypt(_nonce(self._nonce), plaintext, None)
        self._advance()
        return sealed

    def open(self, ciphertext: bytes) -> bytes:
        try:
            plaintext = self._aead.decrypt(_nonce(self._nonce), ciphertext, None)
        except InvalidTag:
            raise DecodeError("A message could not be decrypted: its MAC does not match.") from None
        self._advance()
        return plaintext


class PeerChannelEncryptor:
    """One end of one connection; made by `new_outbound` or `new_inbound`.

    Attributes:
        their_node_id: known from the start when we connect, after act three when they do.
    """

    def __init__(
        self,
        *,
        state: _State,
        responder_node_id: NodeId,
        our_node_id: NodeId,
        their_node_id: NodeId | None,
        ephemeral_secret: bytes,
        node_secret_ecdh: Callable[[bytes], bytes],
    ) -> None:
        if not curve.is_valid_secret(ephemeral_secret):
            raise APIError("The ephemeral secret is not a valid key.")
        self._state = state
        self._our_node_id = our_node_id
        self.their_node_id = their_node_id
        self._ephemeral_secret = ephemeral_secret
        self._node_secret_ecdh = node_secret_ecdh
        self._ck = _INITIAL_CK
        self._h = sha256(_INITIAL_H + responder_node_id)
        self._temp_k2 = b""
        self._their_ephemeral = b""
        self._sender: _CipherState | None = None
        self._receiver: _CipherState | None = None

    @classmethod
    def new_outbound(
        cls,
        their_node_id: NodeId,
        ephemeral_secret: bytes,
        node_secret_ecdh: Callable[[bytes], bytes],
        our_node_id: NodeId,
    ) -> PeerChannelEncryptor:
        """Start as the one who connects. `node_secret_ecdh` is the ECDH of our node key with a point."""
        if not curve.is_valid_pubkey(their_node_id):
            raise APIError("The node id to connect to is not a valid public key.")
        return cls(
            state=_State.SEND_ACT_ONE,
            responder_node_id=their_node_id,
            our_node_id=our_node_id,
            their_node_id=their_node_id,
            ephemeral_secret=ephemeral_secret,
            node_secret_ecdh=node_secret_ecdh,
        )

    @classmethod
    def new_inbound(
        cls, ephemeral_secret: bytes, node_secret_ecdh: Callable[[bytes], bytes], our_node_id: NodeId
    ) -> PeerChannelEncryptor:
        """Start as the one who is connected to."""
        return cls(
            state=_State.AWAIT_ACT_ONE,
            responder_node_id=our_node_id,
            our_node_id=our_node_id,
            their_node_id=None,
            ephemeral_secret=ephemeral_secret,
            node_secret_ecdh=node_secret_ecdh,
        )

    @property
    def is_ready_for_encryption(self) -> bool:
        """Tell whether the handshake is done."""
        return self._state is _State.FINISHED

    def _expect(self, state: _State) -> None:
        if self._state is not state:
            raise APIError(f"The handshake is at {self._state.name}, not at {state.name}.")
        # Whatever raises from here on leaves a connection that can only be dropped.
        self._state = _State.FAILED

    def _mix(self, shared_secret: bytes) -> bytes:
        mixed = hkdf_sha256(self._ck, shared_secret)
        self._ck = mixed[:32]
        return mixed[32:]

    def _absorb(self, data: bytes) -> None:
        self._h = sha256(self._h + data)

    def _send_ephemeral(self, shared_with: Callable[[], bytes]) -> tuple[bytes, bytes]:
        ephemeral = curve.pubkey_from_secret(self._ephemeral_secret)
        self._absorb(ephemeral)
        key = self._mix(shared_with())
        tag = _seal(key, 0, self._h, b"")
        self._absorb(tag)
        return bytes((_HANDSHAKE_VERSION,)) + ephemeral + tag, key

    def _receive_ephemeral(self, act: bytes, length: int, shared_with: Callable[[bytes], bytes]) -> bytes:
        _check_act(act, length)
        ephemeral, tag = act[1:34], act[34:]
        if not curve.is_valid_pubkey(ephemeral):
            raise DecodeError("The handshake failed: the ephemeral key is not a valid public key.")
        self._absorb(ephemeral)
        key = self._mix(shared_with(ephemeral))
        _open(key, 0, self._h, tag)
        self._absorb(tag)
        self._their_ephemeral = ephemeral
        return key

    def get_act_one(self) -> bytes:
        """Give the 50 bytes that open an outbound connection."""
        self._expect(_State.SEND_ACT_ONE)
        their_node_id = self.their_node_id or b""
        act, _ = self._send_ephemeral(lambda: curve.ecdh(self._ephemeral_secret, their_node_id))
        self._state = _State.AWAIT_ACT_TWO
        return act

    def process_act_one(self, act: bytes) -> bytes:
        """Take act one of an inbound connection; return act two."""
        self._expect(_State.AWAIT_ACT_ONE)
        self._receive_ephemeral(act, ACT_ONE_LENGTH, self._node_secret_ecdh)
        reply, self._temp_k2 = self._send_ephemeral(
            lambda: curve.ecdh(self._ephemeral_secret, self._their_ephemeral)
        )
        self._state = _State.AWAIT_ACT_THREE
        return reply

    def process_act_two(self, act: bytes) -> bytes:
        """Take act two of an outbound connection; return act three, after which messages may follow."""
        self._expect(_State.AWAIT_ACT_TWO)
        temp_k2 = self._receive_ephemeral(
            act, ACT_TWO_LENGTH, lambda ephemeral: curve.ecdh(self._ephemeral_secret, ephemeral)
        )
        sealed_node_id = _seal(temp_k2, 1, self._h, self._our_node_id)
        self._absorb(sealed_node_id)
        temp_k3 = self._mix(self._node_secret_ecdh(self._their_ephemeral))
        tag = _seal(temp_k3, 0, self._h, b"")
        self._finish(initiator=True)
        return bytes((_HANDSHAKE_VERSION,)) + sealed_node_id + tag

    def process_act_three(self, act: bytes) -> NodeId:
        """Take act three of an inbound connection; return who has connected."""
        self._expect(_State.AWAIT_ACT_THREE)
        _check_act(act, ACT_THREE_LENGTH)
        sealed_node_id, tag = act[1:50], act[50:]
        their_node_id = _open(self._temp_k2, 1, self._h, sealed_node_id)
        if not curve.is_valid_pubkey(their_node_id):
            raise DecodeError("The handshake failed: the node id is not a valid public key.")
        self._absorb(sealed_node_id)
        temp_k3 = self._mix(curve.ecdh(self._ephemeral_secret, their_node_id))
        _open(temp_k3, 0, self._h, tag)
        self.their_node_id = NodeId(their_node_id)
        self._finish(initiator=False)
        return self.their_node_id

    def _finish(self, *, initiator: bool) -> None:
        mixed = hkdf_sha256(self._ck, b"")
        first, second = _CipherState(mixed[:32], self._ck), _CipherState(mixed[32:], self._ck)
        self._sender, self._receiver = (first, second) if initiator else (second, first)
        # What made the keys is not needed any more.
        self._ck = self._h = self._temp_k2 = self._ephemeral_secret = b""
        self._state = _State.FINISHED

    def encrypt_message(self, plaintext: bytes) -> bytes:
        """Seal one message: its encrypted length and itself."""
        if self._sender is None:
            raise APIError("Messages can be encrypted only after the handshake.")
        if len(plaintext) > MAX_PLAINTEXT_LENGTH:
            raise APIError(f"A message of {len(plaintext)} bytes is too long for the transport.")
        header = self._sender.seal(len(plaintext).to_bytes(2, "big"))
        return header + self._sender.seal(plaintext)

    def decrypt_length_header(self, header: bytes) -> int:
        """Open the 18 bytes of a length; the message's ciphertext is 16 bytes longer than what they say."""
        if self._receiver is None:
            raise APIError("Messages can be decrypted only after the handshake.")
        if len(header) != LENGTH_HEADER_LENGTH:
            raise APIError(f"A length header has {LENGTH_HEADER_LENGTH} bytes, not {len(header)}.")
        return int.from_bytes(self._receiver.open(header), "big")

    def decrypt_message(self, ciphertext: bytes) -> bytes:
        """Open one message; its length header must have been opened before."""
        if self._receiver is None:
            raise APIError("Messages can be decrypted only after the handshake.")
        if len(ciphertext) < MAC_LENGTH:
            raise APIError(f"A ciphertext of {len(ciphertext)} bytes is shorter than its MAC.")
        return self._receiver.open(ciphertext)


def _check_act(act: bytes, length: int) -> None:
    if len(act) != length:
        raise DecodeError(f"The handshake failed: an act of {length} bytes came with {len(act)}.")
    # BOLT 8, handshake versioning: abort on a version that is not known.
    if act[0] != _HANDSHAKE_VERSION:
        raise DecodeError(f"The handshake failed: version {act[0]} is not known.")
