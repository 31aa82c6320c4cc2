"""Tests of the running wallet's own parts."""
