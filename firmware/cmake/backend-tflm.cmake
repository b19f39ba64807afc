# The interpreter of a TFLM tree: TFLM_ROOT holds its sources, and TFLM_LIBRARY, built for the same core, is its library.
enable_language(CXX)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_EXTENSIONS OFF)
set(TFLM_ROOT "" CACHE PATH "A TFLM tree: tensorflow/, and third_party/flatbuffers and gemmlowp")
set(TFLM_LIBRARY "${TFLM_ROOT}/libtensorflow-microlite.a" CACHE FILEPATH "TFLM, built for this core")
if(NOT EXISTS ${TFLM_ROOT}/tensorflow/lite/micro/micro_interpreter.h)
  message(FATAL_ERROR "TFLM_ROOT='${TFLM_ROOT}' must name a TFLM tree, with tensorflow/lite/micro: -DTFLM_ROOT=PATH")
endif()
include_directories(. SYSTEM ${TFLM_ROOT} ${TFLM_ROOT}/third_party/flatbuffers/include ${TFLM_ROOT}/third_party/gemmlowp)
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions> $<$<COMPILE_LANGUAGE:CXX>:-fno-rtti>
                    $<$<COMPILE_LANGUAGE:CXX>:-fno-threadsafe-statics>)
add_compile_definitions(TF_LITE_STATIC_MEMORY) # as TFLM is built: a tensor's layout depends on it
set(BACKEND_SOURCES src/model_tflm.cc generated/model.c)
set(BACKEND_LIBRARIES ${TFLM_LIBRARY})
