"""The command lines: they parse and call, no more."""
