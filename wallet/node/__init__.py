"""The running wallet: core, chain, store and sockets wired together."""
