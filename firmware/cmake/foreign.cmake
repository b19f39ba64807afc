# The application of firmware/src with the compiled network, as firmware/CMakeLists.txt builds it, for a project that
# another build system leads: SOURCES, of which DSP_SOURCES are CMSIS-DSP's; INCLUDES; and what main.c is compiled with.
set(FIRMWARE ${CMAKE_CURRENT_LIST_DIR}/..)
set(DSP ${FIRMWARE}/third_party/cmsis/dsp)
set(CORE ring frames log_mel detector measures message crc32 site gunshot wake main model_compiled kernels)
list(TRANSFORM CORE REPLACE "(.+)" "${FIRMWARE}/src/\\1.c" OUTPUT_VARIABLE SOURCES)
set(TRANSFORM arm_rfft_fast_f32 arm_rfft_fast_init_f32 arm_cfft_f32 arm_cfft_init_f32 arm_cfft_radix8_f32
              arm_bitreversal2)
list(TRANSFORM TRANSFORM REPLACE "(.+)" "${DSP}/Source/TransformFunctions/\\1.c" OUTPUT_VARIABLE DSP_SOURCES)
list(APPEND DSP_SOURCES ${DSP}/Source/CommonTables/arm_common_tables.c ${DSP}/Source/CommonTables/arm_const_structs.c)
list(APPEND SOURCES ${FIRMWARE}/generated/tables.c ${FIRMWARE}/generated/network.c ${DSP_SOURCES})
set(INCLUDES ${FIRMWARE}/src ${FIRMWARE}/generated ${DSP}/Include ${DSP}/PrivateInclude)
# __GNUC_PYTHON__ is CMSIS-DSP's switch for a machine without CMSIS-Core. The arena is as large as this network wants.
set(DEFINES __GNUC_PYTHON__)
set(OF_MAIN -include network.h -DGUNSHOT_ARENA_BYTES=GUNSHOT_NETWORK_ARENA_BYTES)
