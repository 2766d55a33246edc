# Finds nvcc, unless TRTMATTE_CUDA is OFF, and builds the CUDA forms. Sets TRTMATTE_WITH_CUDA.
set(TRTMATTE_WITH_CUDA OFF)
if(TRTMATTE_CUDA STREQUAL "OFF")
  message(STATUS "trtmatte: CUDA forms not built (TRTMATTE_CUDA=OFF)")
  return()
endif()

if(TRTMATTE_CUDA STREQUAL "EMULATED")
  include(tests/native/cuda_on_cpu/emulate.cmake)
  return()
endif()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(TRTMATTE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "TRTMATTE_CUDA=ON, but nvcc was not found. Put it on PATH or set CUDACXX to its path; "
                        "tools/install_nvcc.py fetches it from PyPI.")
  endif()
  message(STATUS "trtmatte: CUDA forms not built (nvcc was not found; set CUDACXX to its path)")
  return()
endif()

# CUDAARCHS, the environment variable, sets CMAKE_CUDA_ARCHITECTURES before enable_language looks for a default.
if(NOT CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
  # machine code for each, and PTX of the last for later architectures
  set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90-real 120)
endif()
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
list(JOIN CMAKE_CUDA_ARCHITECTURES " " TRTMATTE_CUDA_ARCHITECTURES)
find_package(CUDAToolkit REQUIRED)

# Link cudart statically: one build can be imported with any driver and without a driver.
add_library(trtmatte_cuda_runtime INTERFACE)
target_link_libraries(trtmatte_cuda_runtime INTERFACE CUDA::cudart_static)

add_library(trtmatte_cuda OBJECT ${trtmatte_cuda_sources} csrc/base/cuda_check.cpp csrc/runtime/cuda.cpp)
target_link_libraries(trtmatte_cuda PRIVATE trtmatte_flags trtmatte_cuda_runtime)
target_compile_options(trtmatte_cuda PRIVATE
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
# Note [Exact selection]: no contracted multiply-adds, like in the CPU form.
set_source_files_properties(${trtmatte_exact_cuda_sources} PROPERTIES COMPILE_OPTIONS -fmad=false)
set(TRTMATTE_WITH_CUDA ON)
message(STATUS "trtmatte: CUDA forms for ${TRTMATTE_CUDA_ARCHITECTURES} with ${CMAKE_CUDA_COMPILER}")
