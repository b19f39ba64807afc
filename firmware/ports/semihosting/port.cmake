# A board that QEMU emulates; CORE is the compiler's options for it.
set(PORT_SOURCES ports/wav_port.c ports/wav.c ports/number.c ports/semihosting/semihosting.c)
set(PORT_FLASH ports/semihosting/flash.c)
set(PORT_TRACE ports/semihosting/ticks.c)
set(PORT_MEMORY ports/semihosting/memory.ld)
include(ports/cortex-m/port.cmake)
