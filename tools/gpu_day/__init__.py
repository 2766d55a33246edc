"""All checks on a GPU machine without a network: prepared here, run there in pieces, collected here (README.md)."""
