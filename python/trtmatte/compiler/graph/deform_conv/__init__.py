"""DeformConv, which few libraries run in one form: recognised in all, and written in the one that a library runs.

`restored` finds the operators into which exporters decompose it and puts ONNX's DeformConv in their place. `sampled`
writes DeformConv with operators that every library has: GridSample and 1x1 convolutions.
"""

from trtmatte.compiler.graph.deform_conv.node import KIND, Deformation, columns, deformation, has_deform_conv
from trtmatte.compiler.graph.deform_conv.recognition import restored
from trtmatte.compiler.graph.deform_conv.sampling import sampled

__all__ = ["KIND", "Deformation", "columns", "deformation", "has_deform_conv", "restored", "sampled"]
