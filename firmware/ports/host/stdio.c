/* Files by stdio. */
#include "files.h"

#include <stdio.h>

enum { MOST = 4 };
static FILE *open_files[MOST];

int files_open(const char *path, files_mode mode) {
  int i = 0;
  while (i < MOST && open_files[i]) i++;
  if (i == MOST) return -1;
  open_files[i] = fopen(path, mode == FILES_READ ? "rb" : "wb");
  return open_files[i] ? i : -1;
}

size_t files_size(int file) {
  FILE *open_file = open_files[file];
  const long here = ftell(open_file);
  const long size = here >= 0 && fseek(open_file, 0, SEEK_END) == 0 ? ftell(open_file) : 0;
  return size > 0 && fseek(open_file, here, SEEK_SET) == 0 ? (size_t)size : 0;
}

size_t files_read(int file, void *bytes, size_t size) { return fread(bytes, 1, size, open_files[file]); }

bool files_write(int file, const void *bytes, size_t size) { return fwrite(bytes, 1, size, open_files[file]) == size; }

bool files_close(int file) {
  const bool closed = fclose(open_files[file]) == 0;
  open_files[file] = NULL;
  return closed;
}

void files_say(const char *text) { fputs(text, stderr); }
