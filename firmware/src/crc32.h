/* The CRC-32 of zip, PNG and zlib. */
#ifndef GUNSHOT_CRC32_H
#define GUNSHOT_CRC32_H

#include <stddef.h>
#include <stdint.h>

uint32_t gunshot_crc32(const uint8_t *bytes, size_t n);

#endif
