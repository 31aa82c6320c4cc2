"""A peer that tells fresh terms of channels, so many a second: `python -m benchmarks.gossip_stream PORT NODE_ID START`.

The channels are those of the network that `benchmarks.topology` makes up; START is where in their terms it begins, so
that each of two streams tells news. Says "ready" when it is connected, tells until its input ends, then says how many
it told.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.topology import Topology, node_secret, synthetic, update_of
from tests.unit.ln.connection_pair import Keys
from wallet.bitcoin import curve
from wallet.bitcoin.address import REGTEST
from wallet.ln.features import NO_FEATURES, Feature, Features
from wallet.ln.msgs import Init, encode_message
from wallet.ln.peer_channel_encryptor import ACT_TWO_LENGTH, PeerChannelEncryptor
from wallet.ln.types import NodeId

A_SECOND = 100
"""Several times what the public network tells."""
TURN_SECONDS = 0.1
BACKWARDS_SECONDS = 86_400
"""The first terms are of yesterday: so they can be renewed many times before they lie in the future."""


def updates(topology: Topology, start: int) -> Iterator[bytes]:
    """Terms, signed, one after the other, each later than those that were told of the same channel before."""
    ids = topology.node_ids
    swapped = [ids[first] > ids[second] for _scid, first, second, _capacity in topology.channels]
    base_at = int(time.time()) - BACKWARDS_SECONDS
    number = start
    while True:
        lap, index = divmod(number, len(topology.terms))
        terms = topology.terms[index]
        fresh = replace(
            update_of(topology, terms, swapped=swapped[terms.channel], chain_hash=REGTEST.chain_hash),
            timestamp_at=base_at + lap,
            fee_base_msat=terms.fee_base_msat + lap + 1,
        )
        signer = topology.channels[terms.channel][1 + terms.direction]
        yield encode_message(replace(fresh, signature=curve.sign_ecdsa(fresh.digest(), node_secret(signer))))
        number += 1


def main() -> None:
    port, node_id, start = int(sys.argv[1]), NodeId(bytes.fromhex(sys.argv[2])), int(sys.argv[3])
    source = updates(synthetic(), start)
    keys = Keys(b"\x09" * 32)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        encryptor = PeerChannelEncryptor.new_outbound(
            node_id, keys.get_secure_random_bytes(), keys.ecdh, keys.get_node_id()
        )
        connection.sendall(encryptor.get_act_one())
        act_two = b""
        while len(act_two) < ACT_TWO_LENGTH:
            act_two += connection.recv(ACT_TWO_LENGTH - len(act_two))
        connection.sendall(encryptor.process_act_two(act_two))
        # Without `gossip_queries`, so that nothing is asked of us.
        init = Init(
            global_features=NO_FEATURES,
            features=Features.of(optional=(Feature.STATIC_REMOTE_KEY,)),
            networks=(REGTEST.chain_hash,),
        )
        connection.sendall(encryptor.encrypt_message(encode_message(init)))
        print("ready", flush=True)
        told = 0
        began = time.monotonic()
        while not select.select([sys.stdin], [], [], TURN_SECONDS)[0]:
            due = int((time.monotonic() - began) * A_SECOND) - told
            connection.sendall(b"".join(encryptor.encrypt_message(next(source)) for _ in range(due)))
            told += due
        connection.shutdown(socket.SHUT_WR)
        # What we were told meanwhile is taken off the wire, so that hanging up resets nothing.
        while connection.recv(65_536):
            pass
        print(told, flush=True)


if __name__ == "__main__":
    main()
