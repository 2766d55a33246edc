"""Weights in files of PyTorch and safetensors. Only data is read: nothing that a file names is imported or called."""
