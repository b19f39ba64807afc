# C that gunshot/compiled generates from the .tflite: no interpreter.
set(BACKEND_SOURCES src/model_compiled.c src/kernels.c generated/network.c)
set(BACKEND_HOT src/kernels.c)
