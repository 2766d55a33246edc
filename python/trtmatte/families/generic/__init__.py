"""Any network that makes one alpha of one picture."""
