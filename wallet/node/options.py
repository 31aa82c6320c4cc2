"""What a node is started with: network, folder, servers, listening, proxy.

The command line makes these for every command, also for those that only talk to a daemon: nothing heavy is imported
before it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wallet.bitcoin.address import Network
    from wallet.chain.electrum.session import ServerAddress
    from wallet.ln.config import UserConfig

__all__ = ["ALIAS_LENGTH", "NETWORK_NAMES", "SANDBOX", "NodeOptions", "default_data_dir"]

SANDBOX = "sandbox"
ALIAS_LENGTH = 32
"""BOLT 7, node_announcement: bytes."""
PAUSE_WITHOUT_BLOCK_SECONDS = 8 * 60 * 60
"""By chance a block takes eight hours once in 10^20 blocks (e^48): the chain is hidden from us, or the computer's clock
is wrong."""
NETWORK_NAMES = ("mainnet", "testnet4", "signet", "regtest", SANDBOX)


def default_data_dir() -> Path:
    """The folder of this person's wallets: where the desktop keeps such things."""
    import appdirs

    return Path(appdirs.user_data_dir("leyden", appauthor=False))


def _default_config() -> UserConfig:
    from wallet.ln.config import UserConfig

    return UserConfig(manually_accept_inbound_channels=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """All that a node needs to know before it opens a wallet.

    Attributes:
        network_name: "mainnet", "testnet4", "signet", "regtest" or "sandbox".
        root: the folder of all networks; each network but mainnet has a folder of its own in it.
        servers: Electrum servers; empty takes the shipped list.
        single_server_ok: the person named one server and trusts it alone.
        listen: host and port for Lightning peers; None does not listen.
        proxy: a SOCKS5 proxy for servers and peers.
        alias: what an announced node calls itself: at most 32 bytes of UTF-8.
        announce: where an announced node can be reached, each as `host:port`; empty says nothing of it.
        pause_without_block_seconds: no HTLC moves once the newest block is this old; None: eight hours where blocks
            come by themselves, never (0) on regtest and in the sandbox.
        call_gossip_peers: call a few public nodes for gossip, while the graph is missing or old.
        first_peers: where gossip comes from first, each as `node_id@host:port`, in place of the shipped list and of DNS
            seeds; on regtest and in the sandbox nobody is called without.
        accept_without_reserve: take inbound anchor channels without coins to close them with, and without asking:
            for the sandbox's peers, who have nothing to lose.
    """

    network_name: str
    root: Path
    wallet_name: str = "default_wallet"
    servers: tuple[ServerAddress, ...] = ()
    single_server_ok: bool = False
    listen: tuple[str, int] | None = None
    proxy: tuple[str, int] | None = None
    user_config: UserConfig = field(default_factory=_default_config)
    alias: str = ""
    announce: tuple[str, ...] = ()
    call_gossip_peers: bool = True
    first_peers: tuple[str, ...] = ()
    accept_without_reserve: bool = False
    pause_without_block_seconds: int | None = None

    @property
    def network(self) -> Network:
        from wallet.bitcoin.address import NETWORKS, REGTEST

        return REGTEST if self.network_name == SANDBOX else NETWORKS[self.network_name]

    @property
    def htlc_pause_seconds(self) -> int:
        """How old the newest block may be before no HTLC moves; 0: as old as it likes."""
        if self.pause_without_block_seconds is not None:
            return self.pause_without_block_seconds
        return 0 if self.network_name in ("regtest", SANDBOX) else PAUSE_WITHOUT_BLOCK_SECONDS

    @property
    def network_dir(self) -> Path:
        return self.root if self.network_name == "mainnet" else self.root / self.network_name

    @property
    def wallet_dir(self) -> Path:
        return self.network_dir / "wallets" / self.wallet_name

    @property
    def wallet_file(self) -> Path:
        return self.wallet_dir / "wallet.leyden"
