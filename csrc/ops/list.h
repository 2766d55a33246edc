// The ops, named once. C++ and CMake both read this list; a new op is one line here and a folder csrc/ops/<name>/:
//
//   <name>.h             struct <Struct>, the arguments of the op, and the functions <name>(const <Struct>&, …)
//   <name>_math.h        arithmetic that the CPU and the CUDA form share
//   <name>_cpu.cpp       the CPU form
//   <name>_cuda.cu       the CUDA form
//   <name>_binding.cpp   register_<name>(module): the op in trtmatte._core
//   <name>_plugin.cpp    <name>_creator(): the op as a TensorRT plugin
//
// X(name, Struct, compilation), where compilation is
//
//   SIMD    <name>_cpu.cpp is compiled once for each instruction set (Note [One source, three instruction sets])
//   EXACT   each form is compiled once, without contracted multiply-adds, so that all forms agree to the last bit
#pragma once

#define TRTMATTE_OPS(X)                            \
  X(foreground_estimate, ForegroundEstimate, SIMD) \
  X(frame_sample, FrameSample, SIMD)               \
  X(guided_upsample, GuidedUpsample, SIMD)         \
  X(matte_upsample, MatteUpsample, SIMD)           \
  X(patch_select, PatchSelect, EXACT)              \
  X(patch_crop, PatchCrop, SIMD)                   \
  X(patch_scatter, PatchScatter, SIMD)
