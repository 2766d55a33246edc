"""The wing that compiles: a model becomes an engine."""
