# WebAssembly by Debian's clang, lld, wasi-libc and libclang-rt-dev-wasm32.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR wasm32)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
find_program(CMAKE_C_COMPILER clang REQUIRED)
set(CMAKE_C_COMPILER_TARGET wasm32-wasi)
