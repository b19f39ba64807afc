# Images by the line, where the build has a key that signs them; Monocypher, which third_party/fetch.py brings.
if(GUNSHOT_OTA_KEY)
  if(NOT EXISTS ${GUNSHOT_OTA_KEY} OR NOT PORT_FLASH)
    message(FATAL_ERROR "GUNSHOT_OTA_KEY='${GUNSHOT_OTA_KEY}' must be a file, of `gunshot export promoted`, "
                        "and ports/${GUNSHOT_PORT} must have what slots.h and update.h ask for: PORT_FLASH")
  endif()
  set(IMAGE_SOURCES src/ota.c src/sha2.c src/slots.c src/update.c ${PORT_FLASH})
  add_library(monocypher STATIC third_party/monocypher/monocypher.c)
  target_include_directories(monocypher SYSTEM PUBLIC third_party/monocypher)
  target_compile_options(monocypher PRIVATE -Os -w)
  set(IMAGE_LIBRARIES monocypher)
  add_compile_definitions(GUNSHOT_TAKES_IMAGES=1 GUNSHOT_OTA_KEY="${GUNSHOT_OTA_KEY}"
                          GUNSHOT_DEVICE_CLASS="${GUNSHOT_PORT}")
endif()
