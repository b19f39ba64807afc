# Zephyr's build on this machine, as far as a module and a sample see it: prj.conf's options, the module's CMakeLists.txt,
# and an application to which both add their C.
project(Zephyr LANGUAGES C)
set(CMAKE_C_STANDARD 17)
file(STRINGS ${CMAKE_CURRENT_SOURCE_DIR}/prj.conf OPTIONS REGEX "=y$")
foreach(option ${OPTIONS})
  string(REPLACE "=y" "" option ${option})
  set(${option} y)
endforeach()
add_executable(app ${CMAKE_CURRENT_LIST_DIR}/board.c)
target_include_directories(app PRIVATE ${CMAKE_CURRENT_LIST_DIR})

function(zephyr_include_directories)
  target_include_directories(app PRIVATE ${ARGN})
endfunction()

macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
  add_library(${name} STATIC)
  target_link_libraries(app PRIVATE ${name} m)
endmacro()

function(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()

add_subdirectory(${ZEPHYR_EXTRA_MODULES}/zephyr module) # where module.yml says that it is
