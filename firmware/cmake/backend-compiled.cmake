# C that gunshot/export/network generates from the .tflite: no interpreter.
set(BACKEND_SOURCES src/model_compiled.c src/kernels.c generated/network.c)
set(BACKEND_HOT src/kernels.c)
# main's arena: as much as this network wants, not as the interpreter would.
set_source_files_properties(${PORT_MAIN} PROPERTIES
  COMPILE_OPTIONS "-include;network.h;-DGUNSHOT_ARENA_BYTES=GUNSHOT_NETWORK_ARENA_BYTES")
