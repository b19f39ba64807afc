set(CORE -mcpu=cortex-m7 -mthumb -mfloat-abi=hard -mfpu=fpv5-d16)
add_compile_definitions(GUNSHOT_TICKS_HZ=25000000 GUNSHOT_UART=0x40004000)
include(ports/semihosting/port.cmake)
