// The protocols by which arrays describe themselves. What they say is checked as far as it can be: that sizes and steps
// can be multiplied, and that elements lie in a buffer whose size is known. A pointer is believed.
#pragma once

#include "bindings/array.h"

namespace trtmatte {

Array read_protocol(pybind11::handle object, const char* name, void* cuda_stream);

// `device_type` is what the object's __dlpack_device__ says, as in dlpack.h.
Array from_dlpack(pybind11::handle object, const char* name, int device_type, void* cuda_stream);

}  // namespace trtmatte
