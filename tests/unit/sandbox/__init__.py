"""The sandbox's chain and server."""
