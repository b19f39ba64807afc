# The FFT of CMSIS-DSP, which third_party/fetch.py brings.
set(DSP ${CMAKE_SOURCE_DIR}/third_party/cmsis/dsp)
if(NOT EXISTS ${DSP})
  message(FATAL_ERROR "firmware/third_party/cmsis is missing: get it with `python firmware/third_party/fetch.py`")
endif()
set(TRANSFORM ${DSP}/Source/TransformFunctions)
set(TABLES ${DSP}/Source/CommonTables)
add_library(cmsis_dsp ${PORT_DSP}
  ${TRANSFORM}/arm_rfft_fast_f32.c ${TRANSFORM}/arm_rfft_fast_init_f32.c ${TRANSFORM}/arm_cfft_f32.c
  ${TRANSFORM}/arm_cfft_init_f32.c ${TRANSFORM}/arm_cfft_radix8_f32.c ${TRANSFORM}/arm_bitreversal2.c
  ${TABLES}/arm_common_tables.c ${TABLES}/arm_const_structs.c ${TABLES}/arm_mve_tables.c)
target_include_directories(cmsis_dsp SYSTEM PUBLIC ${DSP}/Include ${CMAKE_SOURCE_DIR}/third_party/cmsis/core/Include)
target_include_directories(cmsis_dsp PRIVATE ${DSP}/PrivateInclude)
if(NOT CMAKE_SYSTEM_PROCESSOR STREQUAL arm)
  target_compile_definitions(cmsis_dsp PUBLIC __GNUC_PYTHON__) # its switch for a machine that is no Cortex-M
endif()
target_compile_options(cmsis_dsp PRIVATE -O3 -w)
