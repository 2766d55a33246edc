# TRTMATTE_CUDA=EMULATED: the CUDA forms compiled for the CPU, to check their logic where there is no GPU.
set(here ${CMAKE_CURRENT_LIST_DIR})
set(translated ${CMAKE_CURRENT_BINARY_DIR}/emulated)
file(GLOB kernels RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/csrc csrc/ops/*/*.cu csrc/ops/*/*.cuh)
foreach(kernel IN LISTS kernels)
  string(REGEX REPLACE "\\.cu$" ".cpp" result ${kernel})
  add_custom_command(
    OUTPUT ${translated}/${result}
    COMMAND ${Python_EXECUTABLE} ${here}/translate.py ${CMAKE_CURRENT_SOURCE_DIR}/csrc/${kernel} ${translated}/${result}
    DEPENDS ${here}/translate.py csrc/${kernel})
  list(APPEND results ${translated}/${result})
endforeach()
add_library(trtmatte_cuda OBJECT ${results} csrc/runtime/cuda.cpp)
# Before csrc, where the untranslated headers lie.
target_include_directories(trtmatte_cuda BEFORE PRIVATE ${translated} ${here})
target_link_libraries(trtmatte_cuda PRIVATE trtmatte_flags)
target_compile_options(trtmatte_cuda PRIVATE -Wno-unknown-pragmas -Wno-maybe-uninitialized)
set_source_files_properties(${translated}/ops/patch_select/patch_select_cuda.cpp PROPERTIES COMPILE_OPTIONS
                            -ffp-contract=off)
add_library(trtmatte_cuda_runtime INTERFACE)
target_include_directories(trtmatte_cuda_runtime INTERFACE ${here})
set(TRTMATTE_CUDA_ARCHITECTURES emulated)
set(TRTMATTE_WITH_CUDA ON)
