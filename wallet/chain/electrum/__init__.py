"""The Electrum servers: sessions, headers, proofs, subscriptions, broadcasting."""
