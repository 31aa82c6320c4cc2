"""Fuzzers: every decoder against raw bytes (`decode`), and a whole core against raw peers and blocks (`full_stack`)."""
