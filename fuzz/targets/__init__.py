"""What is attacked. Each module has `seeds`, `attack` and perhaps `mutate` (docs/testing.md)."""
