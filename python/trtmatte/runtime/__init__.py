"""The wing that runs: a frame becomes a matte."""
