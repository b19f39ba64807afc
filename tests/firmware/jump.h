#include <stdbool.h>

extern bool jump_fails; /* whether the model scores no window */
