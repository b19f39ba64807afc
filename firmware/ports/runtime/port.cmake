# A shared library for Python, which calls it by cffi: it has no main, and asks its process for memcpy and the like alone.
set(PORT_MAIN ports/runtime/runtime.c)
set(PORT_SOURCES ports/runtime/log_mel.c ports/runtime/fft.c)
if(GUNSHOT_BACKEND STREQUAL compiled)
  list(APPEND PORT_SOURCES ports/runtime/layers.c)
endif()
set(PORT_WATCHED gunshot_mel gunshot_log_mel_codes gunshot_conv gunshot_depthwise)
set(CMAKE_EXECUTABLE_SUFFIX .so)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# Each sum is rounded as the other ports round it: no fused products. Vectors are passed to inlined functions alone.
add_compile_options(-ffp-contract=off -Wno-psabi -fvisibility=hidden -ffunction-sections -fdata-sections)
# Distributions' compilers add checks of their own, which call a C library. The presets name the processor: theirs may be
# a newer one.
add_compile_options(-U_FORTIFY_SOURCE -fno-stack-protector)
set_source_files_properties(src/detector.c src/frames.c ${PORT_SOURCES} PROPERTIES COMPILE_OPTIONS -O3)
# No library is linked, so that it is the same for every C library; the same sources give the same bytes.
add_link_options(-shared -nostdlib -Wl,--gc-sections,--as-needed,--strip-all,--build-id=none,-z,noexecstack)
