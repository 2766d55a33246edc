# TRTMATTE_CUDA=EMULATED compiles the CUDA forms for the CPU, to check their logic without a GPU.
set(here ${CMAKE_CURRENT_LIST_DIR})
set(translated ${CMAKE_CURRENT_BINARY_DIR}/emulated)
file(GLOB cuda_headers CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} csrc/ops/cuda/*.cuh)

foreach(source IN LISTS trtmatte_cuda_sources cuda_headers)
  string(REGEX REPLACE "^csrc/(.*)$" "${translated}/\\1" target ${source})
  string(REGEX REPLACE "\\.cu$" ".cpp" target ${target})
  add_custom_command(
    OUTPUT ${target}
    COMMAND ${Python_EXECUTABLE} ${here}/translate.py ${CMAKE_CURRENT_SOURCE_DIR}/${source} ${target}
    DEPENDS ${here}/translate.py ${source})
  list(APPEND translated_sources ${target})
  if(source IN_LIST trtmatte_exact_cuda_sources)
    set_source_files_properties(${target} PROPERTIES COMPILE_OPTIONS -ffp-contract=off)
  endif()
endforeach()

add_library(trtmatte_cuda OBJECT ${translated_sources} csrc/base/cuda_check.cpp csrc/runtime/cuda.cpp)
# Before csrc, which has the untranslated headers.
target_include_directories(trtmatte_cuda BEFORE PRIVATE ${translated} ${here})
target_link_libraries(trtmatte_cuda PRIVATE trtmatte_flags)
target_compile_options(trtmatte_cuda PRIVATE -Wno-unknown-pragmas -Wno-maybe-uninitialized)
add_library(trtmatte_cuda_runtime INTERFACE)
target_include_directories(trtmatte_cuda_runtime INTERFACE ${here})
target_link_libraries(trtmatte_cuda_runtime INTERFACE ${CMAKE_DL_LIBS})
set(TRTMATTE_CUDA_ARCHITECTURES emulated)
set(TRTMATTE_WITH_CUDA ON)

# The fake driver, which sessions run on in the place of NVIDIA's.
add_library(fake_driver SHARED ${here}/../fake_driver/driver.cpp)
set_target_properties(fake_driver PROPERTIES OUTPUT_NAME cuda SOVERSION 1
                      LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/driver)
target_link_libraries(fake_driver PRIVATE trtmatte_flags ${CMAKE_DL_LIBS})
