"""Tests against servers and peers that we did not write."""
