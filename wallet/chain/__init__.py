"""Where the chain comes from: the seams of the core, and the Electrum servers behind them."""
