"""Videos and pictures: read, written, aligned."""
