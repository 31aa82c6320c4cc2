"""A peer that tells gossip: `python -m benchmarks.gossip_sender PORT NODE_ID FILE`; says "ready", sends on a line.

Everything is encrypted before it says so: what is measured is who listens.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from benchmarks import gossip_file
from tests.unit.ln.connection_pair import Keys
from wallet.bitcoin.address import MAINNET
from wallet.ln.features import NO_FEATURES, Feature, Features
from wallet.ln.msgs import Init, encode_message
from wallet.ln.peer_channel_encryptor import ACT_TWO_LENGTH, PeerChannelEncryptor
from wallet.ln.types import NodeId


def main() -> None:
    port, node_id, file = int(sys.argv[1]), NodeId(bytes.fromhex(sys.argv[2])), Path(sys.argv[3])
    keys = Keys(b"\x08" * 32)
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
            networks=(MAINNET.chain_hash,),
        )
        connection.sendall(encryptor.encrypt_message(encode_message(init)))
        sealed = b"".join(encryptor.encrypt_message(message) for message in gossip_file.read(file))
        print("ready", flush=True)
        sys.stdin.readline()
        connection.sendall(sealed)
        connection.shutdown(socket.SHUT_WR)
        # What we were told meanwhile is taken off the wire, so that hanging up resets nothing.
        while connection.recv(65_536):
            pass


if __name__ == "__main__":
    main()
