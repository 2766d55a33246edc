"""Tools that any room may use: files, the cache folder, progress bars, colours, signals."""
