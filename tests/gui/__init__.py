"""Tests of the window, offscreen, on a node that is scripted and in memory."""
