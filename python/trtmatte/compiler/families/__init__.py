"""The families of matting models, one folder each."""
