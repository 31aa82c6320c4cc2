"""A real chain and Electrum servers: how they are installed and started."""
