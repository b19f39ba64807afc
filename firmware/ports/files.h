/* Files and words for a person, as the ports have them that read a wav: by stdio, or by semihosting. */
#ifndef GUNSHOT_FILES_H
#define GUNSHOT_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { FILES_READ, FILES_WRITE, FILES_CHANGE } files_mode;

int files_open(const char *path, files_mode mode);     /* a handle, or -1 */
size_t files_size(int file);                           /* bytes */
size_t files_read(int file, void *bytes, size_t size); /* how many; fewer than `size` at the end */
bool files_write(int file, const void *bytes, size_t size);
bool files_write_at(int file, size_t at, const void *bytes, size_t size); /* by semihosting alone, as FILES_CHANGE */
bool files_close(int file);
void files_say(const char *text); /* to standard error */
void files_say_number(uint64_t number);

#endif
