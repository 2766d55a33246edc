"""The backends that run network stages, one library a file. Importing a backend does not import its library."""
