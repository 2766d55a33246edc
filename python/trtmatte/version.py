"""The version of trtmatte. The package, its metadata and the engine files read it from here."""

__version__ = "0.1.0"
