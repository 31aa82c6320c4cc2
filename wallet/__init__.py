"""Leyden: a Lightning wallet for the desktop."""
