"""Tests that make up their own commands, and check what has to hold after every one of them."""
