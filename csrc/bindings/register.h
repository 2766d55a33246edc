// register_<name>(module) for each op of the list; csrc/ops/<name>/<name>_binding.cpp defines it.
#pragma once

#include <pybind11/pybind11.h>

#include "ops/list.h"

namespace trtmatte {

#define TRTMATTE_DECLARE_REGISTER(name, Op, compilation) void register_##name(pybind11::module_& m);
TRTMATTE_OPS(TRTMATTE_DECLARE_REGISTER)
#undef TRTMATTE_DECLARE_REGISTER

}  // namespace trtmatte
