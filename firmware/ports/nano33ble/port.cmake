set(CORE -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16)
set(PORT_SOURCES ports/nano33ble/port.c ports/nano33ble/microphone.c)
set(PORT_MEMORY ports/nano33ble/memory.ld)
include(ports/cortex-m/port.cmake)
