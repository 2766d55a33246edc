"""Sessions on a CUDA device. Imported when one is opened, and with it `cuda.core`."""
