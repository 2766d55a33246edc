"""BackgroundMattingV2 and its descendant matte: a base network and a refiner of patches."""
