"""The networks that Leyden knows, and addresses: text for people on one side, output scripts on the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from wallet.bitcoin import script as _script
from wallet.bitcoin.base58 import base58check_decode, base58check_encode
from wallet.bitcoin.bech32 import Spec, bech32_decode_any, bech32_encode, convert_bits
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.tx import BlockHash, BlockHeader
from wallet.i18n import _


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One chain and its conventions.

    Attributes:
        name: "mainnet", "testnet4", "signet", "regtest" or "sandbox"; also the name of its folder.
        chain_hash: hash of the first block in wire order, as BOLT messages carry it.
        bech32_hrp: what segwit addresses begin with, before the "1".
        bolt11_prefix: what invoices begin with, "ln" included.
        coin_type: BIP 44's; 0 on the main chain, 1 on every other.
        wif_version: of base58 secret keys. xprv_version, xpub_version: of extended keys.
        has_value: whether coins there are money.
    """

    name: str
    title: str
    genesis_header: BlockHeader
    bech32_hrp: str
    bolt11_prefix: str
    coin_type: int
    p2pkh_version: int
    p2sh_version: int
    wif_version: int
    xprv_version: bytes
    xpub_version: bytes
    default_ln_port: int
    has_value: bool = False

    @property
    def chain_hash(self) -> BlockHash:
        return self.genesis_header.hash


# The first block of mainnet, signet and regtest holds the same transaction.
_GENESIS_MERKLE_ROOT: Final = bytes.fromhex(
    "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"
)
_NO_BLOCK: Final = BlockHash(bytes(32))

MAINNET: Final = Network(
    name="mainnet",
    title="Bitcoin",
    genesis_header=BlockHeader(1, _NO_BLOCK, _GENESIS_MERKLE_ROOT, 1231006505, 0x1D00FFFF, 2083236893),
    bech32_hrp="bc",
    bolt11_prefix="lnbc",
    coin_type=0,
    p2pkh_version=0,
    p2sh_version=5,
    wif_version=128,
    xprv_version=bytes.fromhex("0488ade4"),
    xpub_version=bytes.fromhex("0488b21e"),
    default_ln_port=9735,
    has_value=True,
)

TESTNET4: Final = Network(
    name="testnet4",
    title="Bitcoin test network 4",
    genesis_header=BlockHeader(
        1,
        _NO_BLOCK,
        bytes.fromhex("4e7b2b9128fe0291db0693af2ae418b767e657cd407e80cb1434221eaea7a07a"),
        1714777860,
        0x1D00FFFF,
        393743547,
    ),
    bech32_hrp="tb",
    bolt11_prefix="lntb",
    coin_type=1,
    p2pkh_version=111,
    p2sh_version=196,
    wif_version=239,
    xprv_version=bytes.fromhex("04358394"),
    xpub_version=bytes.fromhex("043587cf"),
    default_ln_port=49735,
)

SIGNET: Final = replace(
    TESTNET4,
    name="signet",
    title="Bitcoin signet",
    genesis_header=BlockHeader(1, _NO_BLOCK, _GENESIS_MERKLE_ROOT, 1598918400, 0x1E0377AE, 52613770),
    bolt11_prefix="lntbs",
    default_ln_port=39735,
)

REGTEST: Final = replace(
    TESTNET4,
    name="regtest",
    title="Bitcoin regression test",
    genesis_header=BlockHeader(1, _NO_BLOCK, _GENESIS_MERKLE_ROOT, 1296688602, 0x207FFFFF, 2),
    bech32_hrp="bcrt",
    bolt11_prefix="lnbcrt",
    default_ln_port=19846,
)

# The network inside the program: regtest in everything that goes over a wire, with a folder of its own.
SANDBOX: Final = replace(REGTEST, name="sandbox", title="Sandbox")

NETWORKS: Final[dict[str, Network]] = {
    network.name: network for network in (MAINNET, TESTNET4, SIGNET, REGTEST, SANDBOX)
}

# BIP 173: an address has at most 90 characters.
_MAX_ADDRESS_CHARACTERS: Final = 90


def address_to_script(address: str, network: Network) -> bytes:
    """The output script that an address stands for; DecodeError with a sentence for people otherwise."""
    text = address.strip()
    if not text:
        raise DecodeError(_("There is no address."))
    if len(text) > _MAX_ADDRESS_CHARACTERS:
        raise DecodeError(_("This is too long for a Bitcoin address."))
    hrp = text.lower().rpartition("1")[0]
    if any(hrp == known.bech32_hrp for known in NETWORKS.values()):
        return _segwit_to_script(text, network)
    return _base58_to_script(text, network)


def _segwit_to_script(text: str, network: Network) -> bytes:
    try:
        hrp, values, spec = bech32_decode_any(text)
    except DecodeError as error:
        raise DecodeError(_("This is not a valid address. {error}").format(error=error)) from None
    if hrp != network.bech32_hrp:
        raise _other_network([known for known in NETWORKS.values() if known.bech32_hrp == hrp], network)
    if not values:
        raise DecodeError(_("This is not a valid address. It is empty."))
    version = values[0]
    # BIP 350: version 0 keeps the old checksum, all others have the new one.
    if version > 16 or spec is not (Spec.BECH32 if version == 0 else Spec.BECH32M):
        raise DecodeError(_("This is not a valid address. Its version and its checksum do not go together."))
    try:
        program = bytes(convert_bits(values[1:], 5, 8, pad=False))
    except DecodeError as error:
        raise DecodeError(_("This is not a valid address. {error}").format(error=error)) from None
    if not 2 <= len(program) <= 40 or (version == 0 and len(program) not in (20, 32)):
        raise DecodeError(_("This is not a valid address. Its length is wrong."))
    return _script.witness_program_script(version, program)


def _base58_to_script(text: str, network: Network) -> bytes:
    try:
        payload = base58check_decode(text)
    except DecodeError as error:
        raise DecodeError(_("This is not a Bitcoin address. {error}").format(error=error)) from None
    if len(payload) != 21:
        raise DecodeError(_("This is not a Bitcoin address. Its length is wrong."))
    version = payload[0]
    if version == network.p2pkh_version:
        return _script.p2pkh_from_hash(payload[1:])
    if version == network.p2sh_version:
        return _script.p2sh_from_hash(payload[1:])
    others = [known for known in NETWORKS.values() if version in (known.p2pkh_version, known.p2sh_version)]
    if others:
        raise _other_network(others, network)
    raise DecodeError(_("This is not a Bitcoin address."))


def _other_network(owners: list[Network], network: Network) -> DecodeError:
    if owners == [MAINNET]:
        where = "the main Bitcoin network"
    elif REGTEST in owners and TESTNET4 not in owners:
        where = "a private test network (regtest)"
    else:
        where = "a Bitcoin test network"
    return DecodeError(f"This address belongs to {where}; this wallet is on {network.name}.")


def script_to_address(script: bytes, network: Network) -> str | None:
    """The address of an output script, or None where there is no such thing (OP_RETURN, bare multisig)."""
    if _script.is_p2pkh(script):
        return base58check_encode(bytes((network.p2pkh_version,)) + script[3:23])
    if _script.is_p2sh(script):
        return base58check_encode(bytes((network.p2sh_version,)) + script[2:22])
    found = _script.witness_program(script)
    if found is None:
        return None
    version, program = found
    if version == 0 and len(program) not in (20, 32):
        return None
    spec = Spec.BECH32 if version == 0 else Spec.BECH32M
    return bech32_encode(network.bech32_hrp, [version, *convert_bits(program, 8, 5, pad=True)], spec)
