"""Faults on purpose: every operation of a command fails in turn (docs/testing.md)."""
