"""A peer of the node that is measured: it says hello, tells what it has to, and hangs up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.unit.ln.connection_pair import Keys
from wallet.bitcoin.address import Network
from wallet.ln.features import NO_FEATURES, Feature, Features
from wallet.ln.msgs import Init, encode_message
from wallet.ln.peer_channel_encryptor import ACT_TWO_LENGTH, PeerChannelEncryptor
from wallet.ln.types import NodeId

__all__ = ["connected"]


@contextmanager
def connected(
    port: int, node_id: NodeId, keys: Keys, network: Network
) -> Iterator[tuple[socket.socket, PeerChannelEncryptor]]:
    """The handshake and `init` are behind it; the end of the `with` hangs up."""
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
            networks=(network.chain_hash,),
        )
        connection.sendall(encryptor.encrypt_message(encode_message(init)))
        yield connection, encryptor
        connection.shutdown(socket.SHUT_WR)
        # What we were told meanwhile is taken off the wire, so that hanging up resets nothing.
        while connection.recv(65_536):
            pass
