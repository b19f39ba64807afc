# A module for a web page: it has no main, the page calls it.
set(PORT_MAIN ports/web/page.c)
set(PORT_WATCHED gunshot_frames_push gunshot_detector_window)
set(PORT_DSP OBJECT) # lld wants an index in a library, which only LLVM's own ar writes
set(CMAKE_EXECUTABLE_SUFFIX .wasm)
add_compile_options(-ffunction-sections -fdata-sections)
# The stack comes first, so that one that overflows traps. No debugging information: the page is to load it.
add_link_options(-nostartfiles -Wl,--no-entry,--gc-sections,--fatal-warnings,--strip-all,--stack-first
                 "SHELL:-Wl,-z,stack-size=16384")
