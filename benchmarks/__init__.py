"""Figures that Leyden promises, each measured beside a peer in the same run: `make bench`."""
