"""Tests of Leyden: unit, vectors, functional, stateful, real, gui."""
