"""The known kinds of model, one package each."""
