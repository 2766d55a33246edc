# Builds the CPU forms once for each instruction set (csrc/ops/cpu/simd.h) as the object libraries trtmatte_<set>, and
# sets cpu_objects.
set(available_levels baseline)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" AND NOT MSVC)
  list(APPEND available_levels avx2 avx512)
endif()
set(TRTMATTE_SIMD_LEVELS "${available_levels}" CACHE STRING
    "Instruction sets to build the CPU forms for: baseline, baseline;avx2 or baseline;avx2;avx512")

# dispatch.cpp chooses the highest that the machine has, so that none may be left out in between.
list(LENGTH TRTMATTE_SIMD_LEVELS count)
list(SUBLIST available_levels 0 ${count} expected)
if(count EQUAL 0 OR NOT TRTMATTE_SIMD_LEVELS STREQUAL expected)
  list(JOIN available_levels ", " names)
  message(FATAL_ERROR "TRTMATTE_SIMD_LEVELS is '${TRTMATTE_SIMD_LEVELS}'; expected the first one or more of: ${names}")
endif()

set(flags_baseline "")
set(flags_avx2 -mavx2 -mfma -mf16c -mbmi2)
set(flags_avx512 ${flags_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC's own intrinsics start from undefined registers, and GCC warns about them.
  list(APPEND flags_avx512 -Wno-maybe-uninitialized)
endif()
foreach(level IN LISTS TRTMATTE_SIMD_LEVELS)
  add_library(trtmatte_flags_${level} INTERFACE)
  target_compile_options(trtmatte_flags_${level} INTERFACE ${flags_${level}})
  add_library(trtmatte_${level} OBJECT ${trtmatte_simd_sources})
  target_link_libraries(trtmatte_${level} PRIVATE trtmatte_flags trtmatte_flags_${level})
  target_compile_definitions(trtmatte_${level} PRIVATE TRTMATTE_SIMD=${level})
  list(APPEND cpu_objects $<TARGET_OBJECTS:trtmatte_${level}>)
  string(TOUPPER ${level} upper)
  set_property(SOURCE csrc/ops/cpu/dispatch.cpp APPEND PROPERTY COMPILE_DEFINITIONS TRTMATTE_BUILT_${upper})
endforeach()
