"""The window's own parts: each draws from tokens, names itself for screen readers, and knows nothing of the
node."""
