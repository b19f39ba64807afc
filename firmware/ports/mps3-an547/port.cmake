set(CORE -mcpu=cortex-m55 -mthumb -mfloat-abi=hard -mfpu=auto)
add_compile_definitions(GUNSHOT_TICKS_HZ=32000000 GUNSHOT_UART=0x49303000)
include(ports/semihosting/port.cmake)
