"""The commands. They only parse flags and call an app."""
