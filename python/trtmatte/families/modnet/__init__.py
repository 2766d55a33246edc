"""MODNet: one picture in, one alpha out."""
