"""A peer that tells gossip: `python -m benchmarks.gossip_sender PORT NODE_ID FILE`; says "ready", sends on a line.

Everything is encrypted before it says so: what is measured is who listens.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import gossip_file
from benchmarks.peer import connected
from tests.unit.ln.connection_pair import Keys
from wallet.bitcoin.address import MAINNET
from wallet.ln.types import NodeId


def main() -> None:
    port, node_id, file = int(sys.argv[1]), NodeId(bytes.fromhex(sys.argv[2])), Path(sys.argv[3])
    with connected(port, node_id, Keys(b"\x08" * 32), MAINNET) as (connection, encryptor):
        sealed = b"".join(encryptor.encrypt_message(message) for message in gossip_file.read(file))
        print("ready", flush=True)
        sys.stdin.readline()
        connection.sendall(sealed)


if __name__ == "__main__":
    main()
