# A Cortex-M without an operating system: CORE, PORT_SOURCES and PORT_MEMORY are the board's.
list(APPEND PORT_SOURCES ports/cortex-m/startup.c)
include_directories(ports/cortex-m)
add_compile_options(${CORE} -ffunction-sections -fdata-sections)
# There is no _sbrk: whatever calls malloc does not link.
add_link_options(${CORE} -nostartfiles --specs=nano.specs -Wl,--gc-sections,--fatal-warnings
                 "SHELL:-T ${CMAKE_SOURCE_DIR}/${PORT_MEMORY}"
                 "SHELL:-T ${CMAKE_SOURCE_DIR}/ports/cortex-m/sections.ld")
