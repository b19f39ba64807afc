# The Random Forest as C: its trees are code.
set(BACKEND_SOURCES src/model_forest.c)
include_directories(BEFORE generated/forest) # its constants.h
