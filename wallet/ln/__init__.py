"""The Lightning core: it acts only when it is called, and does no I/O."""
