"""A peer that tells fresh terms of channels, so many a second: `python -m benchmarks.gossip_stream PORT NODE_ID START`.

The channels are those of the network that `benchmarks.topology` makes up; START is where in their terms it begins, so
that each of two streams tells news. Says "ready" when it is connected, tells until its input ends, then says how many
it told.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.peer import connected
from benchmarks.topology import Topology, node_secret, synthetic, update_of
from tests.unit.ln.connection_pair import Keys
from wallet.bitcoin import curve
from wallet.bitcoin.address import REGTEST
from wallet.ln.msgs import encode_message
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
    with connected(port, node_id, Keys(b"\x09" * 32), REGTEST) as (connection, encryptor):
        print("ready", flush=True)
        told = 0
        began = time.monotonic()
        while not select.select([sys.stdin], [], [], TURN_SECONDS)[0]:
            due = int((time.monotonic() - began) * A_SECOND) - told
            connection.sendall(b"".join(encryptor.encrypt_message(next(source)) for _ in range(due)))
            told += due
    print(told, flush=True)


if __name__ == "__main__":
    main()
