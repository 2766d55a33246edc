"""Read and write videos, pictures and cameras, and align plates."""
