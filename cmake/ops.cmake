# Reads csrc/ops/list.h and sets, for all of its ops:
#
#   trtmatte_simd_sources       CPU forms that are compiled once for each instruction set
#   trtmatte_exact_sources      CPU forms that are compiled once, without contracted multiply-adds
#   trtmatte_cuda_sources       CUDA forms
#   trtmatte_exact_cuda_sources the CUDA forms among them that are compiled without contracted multiply-adds
#   trtmatte_binding_sources    bindings
#   trtmatte_plugin_sources     TensorRT plugins
set(ops_list ${CMAKE_CURRENT_SOURCE_DIR}/csrc/ops/list.h)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${ops_list})

file(READ ${ops_list} text)
string(REGEX MATCHALL "\n +X\\([^\n\\]*" lines "${text}")
if(NOT lines)
  message(FATAL_ERROR "${ops_list} lists no op; expected lines X(name, Struct, SIMD) or X(name, Struct, EXACT)")
endif()
foreach(line IN LISTS lines)
  string(STRIP "${line}" line)
  if(NOT line MATCHES "^X\\(([a-z0-9_]+), [A-Za-z0-9]+, (SIMD|EXACT)\\)$")
    message(FATAL_ERROR "${ops_list}: '${line}' is not an op; expected X(name, Struct, SIMD) or X(name, Struct, EXACT)")
  endif()
  set(op csrc/ops/${CMAKE_MATCH_1}/${CMAKE_MATCH_1})
  if(CMAKE_MATCH_2 STREQUAL "SIMD")
    list(APPEND trtmatte_simd_sources ${op}_cpu.cpp)
  else()
    list(APPEND trtmatte_exact_sources ${op}_cpu.cpp)
    list(APPEND trtmatte_exact_cuda_sources ${op}_cuda.cu)
  endif()
  list(APPEND trtmatte_cuda_sources ${op}_cuda.cu)
  list(APPEND trtmatte_binding_sources ${op}_binding.cpp)
  list(APPEND trtmatte_plugin_sources ${op}_plugin.cpp)
endforeach()
