"""Attacks with damaged and hostile inputs: `python -m fuzz --help`, and docs/testing.md."""
