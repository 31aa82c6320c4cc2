"""Files of gossip: repeated a length in two bytes and a message; read, or made by signing a topology with our own keys.

python -m benchmarks.gossip_file [--topology FILE.npz] OUT
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.inputs import InputError, read_bytes, refused
from benchmarks.topology import UPDATED_AT, Topology, node_secret, read_npz, synthetic, update_of
from wallet.bitcoin import curve
from wallet.bitcoin.address import MAINNET
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import sha256
from wallet.ln.features import Feature, Features
from wallet.ln.msgs import ChannelAnnouncement, NodeAnnouncement, decode_message, encode_message
from wallet.ln.types import NodeId, ShortChannelId

FEATURES = Features.of(optional=(Feature.BASIC_MPP, Feature.ANCHORS, Feature.KEYSEND, Feature.SPLICE))


def signed(topology: Topology) -> Iterator[bytes]:
    """The topology as gossip, channel by channel and then the nodes, as a peer tells it."""
    secrets = [node_secret(index) for index in range(len(topology.node_ids))]
    ids = [curve.pubkey_from_secret(secret) for secret in secrets]
    ours = Topology(ids, topology.channels, topology.terms)
    terms_of: dict[int, list[bytes]] = {}
    swapped = [ids[first] > ids[second] for _, first, second, _ in topology.channels]
    for terms in topology.terms:
        swap = swapped[terms.channel]
        update = update_of(ours, terms, swapped=swap, chain_hash=MAINNET.chain_hash)
        signer = topology.channels[terms.channel][1 + terms.direction]
        update = replace(update, signature=curve.sign_ecdsa(update.digest(), secrets[signer]))
        terms_of.setdefault(terms.channel, []).append(encode_message(update))
    for number, (scid, *nodes, _capacity) in enumerate(topology.channels):
        first, second = reversed(nodes) if swapped[number] else nodes
        funding = [sha256(b"benchmark funding %d %d" % (number, side)) for side in (0, 1)]
        unsigned = ChannelAnnouncement(
            node_signature_1=b"",
            node_signature_2=b"",
            bitcoin_signature_1=b"",
            bitcoin_signature_2=b"",
            features=b"",
            chain_hash=MAINNET.chain_hash,
            short_channel_id=ShortChannelId(scid),
            node_id_1=NodeId(ids[first]),
            node_id_2=NodeId(ids[second]),
            bitcoin_key_1=curve.pubkey_from_secret(funding[0]),
            bitcoin_key_2=curve.pubkey_from_secret(funding[1]),
        )
        digest = unsigned.digest()
        signatures = curve.sign_ecdsa_many(
            [(digest, secret) for secret in (secrets[first], secrets[second], *funding)]
        )
        yield encode_message(
            replace(
                unsigned,
                node_signature_1=signatures[0],
                node_signature_2=signatures[1],
                bitcoin_signature_1=signatures[2],
                bitcoin_signature_2=signatures[3],
            )
        )
        yield from terms_of.pop(number, ())
    for index, node_id in enumerate(ids):
        node = NodeAnnouncement(
            signature=bytes(64),
            features=FEATURES,
            timestamp_at=UPDATED_AT,
            node_id=NodeId(node_id),
            rgb_color=bytes((index & 0xFF, 80, 160)),
            alias=f"node {index}".encode().ljust(32, b"\x00"),
            address_data=b"\x01" + bytes((203, 0, 113, index & 0xFF)) + b"\x26\x07",
        )
        yield encode_message(replace(node, signature=curve.sign_ecdsa(node.digest(), secrets[index])))


def write(path: Path, messages: Iterator[bytes]) -> None:
    with path.open("wb") as file:
        for message in messages:
            file.write(len(message).to_bytes(2, "big") + message)


def read(path: Path) -> list[bytes]:
    """The messages, each of which is well formed; signatures are not checked here."""
    data = read_bytes(path)
    messages: list[bytes] = []
    position = 0
    while position < len(data):
        end = position + 2 + int.from_bytes(data[position : position + 2], "big")
        if end > len(data):
            raise InputError(f"{path} ends in the middle of message {len(messages) + 1}, at byte {position}.")
        try:
            decode_message(data[position + 2 : end])
        except DecodeError as error:
            raise InputError(f"{path}: message {len(messages) + 1}, at byte {position}: {error}") from error
        messages.append(data[position + 2 : end])
        position = end
    if not messages:
        raise InputError(f"{path} has no messages.")
    return messages


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gossip_file", description=__doc__)
    parser.add_argument("--topology", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    with refused(parser):
        write(args.out, signed(synthetic() if args.topology is None else read_npz(args.topology)))


if __name__ == "__main__":
    main()
