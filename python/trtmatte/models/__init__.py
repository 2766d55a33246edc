"""Known models: their descriptions, downloads and the folder that holds them."""
