# The Pico SDK on this machine, as far as firmware/ports/rp2040 sees it.
set(CHIP ${CMAKE_CURRENT_LIST_DIR}/..)

macro(pico_sdk_init)
  foreach(name pico_stdlib pico_rand pico_unique_id hardware_dma hardware_pio hardware_watchdog)
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${CHIP})
  endforeach()
endmacro()

function(pico_add_extra_outputs name)
  target_sources(${name} PRIVATE ${CHIP}/chip.c ${CHIP}/machine.c)
  target_link_libraries(${name} m)
endfunction()
