# ESP-IDF's build on this machine, as far as a project sees it: each component is a library, and the chip is in this folder.
# A component is given those that it requires, and main, where it requires none by name, all.
set(CHIP ${CMAKE_CURRENT_LIST_DIR}/../..)

function(idf_component_register)
  cmake_parse_arguments(PARSE_ARGV 0 part "" "" "SRCS;INCLUDE_DIRS;PRIV_INCLUDE_DIRS;REQUIRES;PRIV_REQUIRES")
  add_library(${COMPONENT_LIB} OBJECT ${part_SRCS})
  target_include_directories(${COMPONENT_LIB} PUBLIC ${part_INCLUDE_DIRS} PRIVATE ${part_PRIV_INCLUDE_DIRS} ${CHIP})
  set(required ${part_REQUIRES} ${part_PRIV_REQUIRES})
  if(COMPONENT_LIB STREQUAL main AND NOT required)
    set(required ${COMPONENTS_BEFORE})
  endif()
  foreach(name ${required})
    if(TARGET ${name}) # others are ESP-IDF's own, whose headers are in the chip's folder
      target_link_libraries(${COMPONENT_LIB} PRIVATE ${name})
    endif()
  endforeach()
endfunction()

macro(project name) # as ESP-IDF does it
  _project(${name} LANGUAGES C)
  set(CMAKE_C_STANDARD 17)
  add_executable(chip ${CHIP}/board.c ${CHIP}/chip.c)
  target_include_directories(chip PRIVATE ${CHIP})
  foreach(folder ${EXTRA_COMPONENT_DIRS} ${CMAKE_CURRENT_SOURCE_DIR}/main)
    get_filename_component(folder ${folder} ABSOLUTE)
    get_filename_component(COMPONENT_LIB ${folder} NAME)
    add_subdirectory(${folder} ${COMPONENT_LIB})
    target_link_libraries(chip PRIVATE ${COMPONENT_LIB} m)
    list(APPEND COMPONENTS_BEFORE ${COMPONENT_LIB})
  endforeach()
endmacro()
