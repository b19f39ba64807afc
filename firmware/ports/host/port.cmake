set(PORT_SOURCES ports/wav_port.c ports/wav.c ports/number.c ports/host/stdio.c)
set(PORT_TRACE ports/host/ticks.c)
add_compile_definitions(GUNSHOT_TICKS_HZ=1000000000)
