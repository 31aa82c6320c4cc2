"""BIP 32: trees of keys. An `ExtendedKey` holds a secret key, or, once neutered, a public key only."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from wallet.bitcoin import curve
from wallet.bitcoin.address import NETWORKS, Network
from wallet.bitcoin.base58 import base58check_decode, base58check_encode
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.hashes import hash160

HARDENED: Final = 0x80000000
"""Added to an index: such a child needs the parent's secret."""

_MAX_DEPTH: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedKey:
    """One node of a key tree.

    Attributes:
        pubkey: 33 bytes, compressed.
        chain_code: 32 bytes that go into every child.
        depth: 0 for the root. child_number: this key's index in its parent (with HARDENED).
        parent_fingerprint: the first 4 bytes of the parent's key hash; zeros for the root.
    """

    pubkey: bytes
    chain_code: bytes = field(repr=False)
    network: Network = field(repr=False)
    depth: int = 0
    child_number: int = 0
    parent_fingerprint: bytes = bytes(4)
    _secret: bytes | None = field(default=None, repr=False)

    @classmethod
    def from_seed(cls, seed: bytes, network: Network) -> ExtendedKey:
        """The root. BIP 32 allows 16 to 64 bytes of seed; BIP 39 gives 64."""
        if not 16 <= len(seed) <= 64:
            raise APIError(f"A seed has 16 to 64 bytes, not {len(seed)}.")
        digest = hmac.digest(b"Bitcoin seed", seed, "sha512")
        secret = digest[:32]
        return cls(
            pubkey=curve.pubkey_from_secret(secret), chain_code=digest[32:], network=network, _secret=secret
        )

    @property
    def secret(self) -> bytes:
        """The 32 bytes of the secret key; APIError on a neutered one."""
        if self._secret is None:
            raise APIError("This extended key holds no secret.")
        return self._secret

    @property
    def fingerprint(self) -> bytes:
        """4 bytes by which PSBTs and descriptors name this key."""
        return hash160(self.pubkey)[:4]

    def derive(self, path: str | Sequence[int]) -> ExtendedKey:
        """The key at a path below this one: "m/84h/0h/0h" (h, H or ' for hardened), or indices."""
        key = self
        for index in parse_path(path) if isinstance(path, str) else path:
            key = key.child(index)
        return key

    def child(self, index: int) -> ExtendedKey:
        if not 0 <= index <= 0xFFFFFFFF:
            raise APIError(f"A child's index is 0 to 4294967295, not {index}.")
        if self.depth == _MAX_DEPTH:
            raise APIError("Keys cannot be derived more than 255 levels deep.")
        number = index.to_bytes(4, "big")
        secret: bytes | None = None
        if index & HARDENED:
            digest = hmac.digest(self.chain_code, b"\x00" + self.secret + number, "sha512")
        else:
            digest = hmac.digest(self.chain_code, self.pubkey + number, "sha512")
        # BIP 32: an index whose tweak is not a valid key is skipped; the chance is 1 in 2^127.
        if self._secret is not None:
            secret = curve.secret_tweak_add(self._secret, digest[:32])
            pubkey = curve.pubkey_from_secret(secret)
        else:
            pubkey = curve.pubkey_tweak_add(self.pubkey, digest[:32])
        return ExtendedKey(
            pubkey=pubkey,
            chain_code=digest[32:],
            network=self.network,
            depth=self.depth + 1,
            child_number=index,
            parent_fingerprint=self.fingerprint,
            _secret=secret,
        )

    def neuter(self) -> ExtendedKey:
        """The same key without its secret: it derives the public keys of unhardened children."""
        return ExtendedKey(
            pubkey=self.pubkey,
            chain_code=self.chain_code,
            network=self.network,
            depth=self.depth,
            child_number=self.child_number,
            parent_fingerprint=self.parent_fingerprint,
        )

    def to_base58(self) -> str:
        """The xprv (or tprv) of a key with a secret, the xpub (or tpub) of a neutered one."""
        if self._secret is None:
            version, key = self.network.xpub_version, self.pubkey
        else:
            version, key = self.network.xprv_version, b"\x00" + self._secret
        return base58check_encode(
            version
            + bytes((self.depth,))
            + self.parent_fingerprint
            + self.child_number.to_bytes(4, "big")
            + self.chain_code
            + key
        )

    @classmethod
    def from_base58(cls, text: str, network: Network) -> ExtendedKey:
        """Reads an extended key of this network; DecodeError says what is wrong with it."""
        try:
            payload = base58check_decode(text.strip())
        except DecodeError as error:
            raise DecodeError(f"This is not an extended key. {error}") from None
        if len(payload) != 78:
            raise DecodeError("This is not an extended key. Its length is wrong.")
        version, depth = payload[:4], payload[4]
        if version not in (network.xprv_version, network.xpub_version):
            if any(version in (known.xprv_version, known.xpub_version) for known in NETWORKS.values()):
                raise DecodeError("This extended key belongs to another Bitcoin network.")
            raise DecodeError("This is not an extended key of a kind that is known here.")
        parent_fingerprint = payload[5:9]
        child_number = int.from_bytes(payload[9:13], "big")
        # BIP 32, test vector 5: a root has neither a parent nor an index.
        if depth == 0 and (parent_fingerprint != bytes(4) or child_number):
            raise DecodeError("This extended key says that it is a root and has a parent.")
        key = payload[45:]
        secret: bytes | None = None
        if version == network.xprv_version:
            if key[0] != 0:
                raise DecodeError("This is not a valid extended secret key.")
            secret = key[1:]
            pubkey = curve.pubkey_from_secret(secret)
        else:
            if not curve.is_valid_pubkey(key):
                raise DecodeError("This is not a valid extended public key.")
            pubkey = key
        return cls(
            pubkey=pubkey,
            chain_code=payload[13:45],
            network=network,
            depth=depth,
            child_number=child_number,
            parent_fingerprint=parent_fingerprint,
            _secret=secret,
        )


def parse_path(path: str) -> tuple[int, ...]:
    """The indices of "m/84h/0h/0h", "m" or "0/1"."""
    parts = path.split("/")
    if parts[0] == "m":
        parts = parts[1:]
    indices: list[int] = []
    for part in parts:
        hardened = part[-1:] in ("h", "H", "'")
        digits = part[:-1] if hardened else part
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 10) or int(digits) >= HARDENED:
            raise DecodeError(f"“{part}” is not a step of a derivation path.")
        indices.append(int(digits) + (HARDENED if hardened else 0))
    return tuple(indices)


def format_path(indices: Sequence[int]) -> str:
    """The text of a path, with "h" for hardened steps."""
    steps = ["m"]
    for index in indices:
        steps.append(f"{index - HARDENED}h" if index & HARDENED else str(index))
    return "/".join(steps)
