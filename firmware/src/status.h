/* What a call came to. Nobody may ignore it: the compiler warns, and warnings are errors here. */
#ifndef GUNSHOT_STATUS_H
#define GUNSHOT_STATUS_H

typedef enum {
  GUNSHOT_OK = 0,
  GUNSHOT_CRC,       /* the artifact's bytes are not those that were generated */
  GUNSHOT_TRUNCATED, /* fewer bytes than the artifact or the message states */
  GUNSHOT_VERSION,   /* a schema or message version that this code does not know */
  GUNSHOT_SHAPE,     /* input or output of another shape than N_MELS x N_FRAMES */
  GUNSHOT_TYPE,      /* input or output not int8, or with another scale or zero point */
  GUNSHOT_OPERATOR,  /* an operator that is not registered */
  GUNSHOT_ARENA,     /* fewer bytes of arena than the model needs, or not aligned to 16 */
  GUNSHOT_NOT_READY, /* Score before a successful Init */
  GUNSHOT_SPACE,     /* the caller's buffer is too small */
  GUNSHOT_IO,        /* a port could not open, read or write */
  GUNSHOT_VALUE      /* a number that no message has */
} gunshot_status;

#define GUNSHOT_CHECKED __attribute__((warn_unused_result))

#endif
