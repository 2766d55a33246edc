#pragma once

#include <pybind11/pybind11.h>

namespace trtmatte {

void register_frame_sample(pybind11::module_& m);
void register_guided_upsample(pybind11::module_& m);
void register_matte_upsample(pybind11::module_& m);
void register_patch_select(pybind11::module_& m);
void register_patch_crop(pybind11::module_& m);
void register_patch_scatter(pybind11::module_& m);

}  // namespace trtmatte
