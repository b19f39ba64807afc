#include "files.h"

void files_say_number(uint64_t number) {
  char digits[21], *next = digits + sizeof digits;
  *--next = '\0';
  do *--next = (char)('0' + number % 10);
  while (number /= 10);
  files_say(next);
}
