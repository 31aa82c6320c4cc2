"""An in-process regtest network to practise in: chain, Electrum server, friendly peers."""
