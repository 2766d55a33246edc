"""The networks of the known families in PyTorch, for official checkpoints: `network("rvm_mobilenetv3")`."""

from trtmatte.compiler.families.networks import names, network

__all__ = ["names", "network"]
