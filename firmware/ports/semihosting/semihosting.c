/* Files, arguments and the exit code by semihosting: Arm's specification "Semihosting for AArch32 and AArch64", 2.0.
 * The file `uart` is the board's serial line, at GUNSHOT_UART (of the build): Arm's CMSDK APB UART. */
#include <stdint.h>
#include <string.h>

#include "files.h"
#include "startup.h"

enum {
  SYS_OPEN = 0x01,
  SYS_CLOSE = 0x02,
  SYS_WRITE0 = 0x04,
  SYS_WRITE = 0x05,
  SYS_READ = 0x06,
  SYS_SEEK = 0x0A,
  SYS_FLEN = 0x0C,
  SYS_GET_CMDLINE = 0x15,
  SYS_EXIT_EXTENDED = 0x20,
  ADP_STOPPED_APPLICATION_EXIT = 0x20026,
  MODE_RB = 1,
  MODE_RWB = 3,
  MODE_WB = 5,
  MOST_ARGUMENTS = 8,
  UART = INT16_MAX, /* a handle */
  UART_PATIENCE = 100, /* looks */
  FAULT = 139 /* exit code, as a shell's for a segmentation fault */
};

#define UART_DATA (*(volatile uint32_t *)GUNSHOT_UART)
#define UART_STATE (*(volatile uint32_t *)(GUNSHOT_UART + 0x4))
#define UART_CTRL (*(volatile uint32_t *)(GUNSHOT_UART + 0x8))
#define UART_BAUDDIV (*(volatile uint32_t *)(GUNSHOT_UART + 0x10))
#define UART_NAME "uart" /* no strcmp: newlib's takes 732 bytes */
enum { UART_FULL = 1, UART_CAME = 2, UART_SENDS = 1, UART_RECEIVES = 2, UART_LEAST_BAUDDIV = 16 };

int main(int argc, char **argv);

static intptr_t call(uint32_t operation, const void *block) {
  register uintptr_t r0 __asm("r0") = operation;
  register const void *r1 __asm("r1") = block;
  __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return (intptr_t)r0;
}

static _Noreturn void leave(int code) {
  const uintptr_t block[] = {ADP_STOPPED_APPLICATION_EXIT, (uintptr_t)code};
  call(SYS_EXIT_EXTENDED, block);
  for (;;);
}

static void uart_write(const uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    while (UART_STATE & UART_FULL);
    UART_DATA = bytes[i];
  }
}

/* What has come: the UART has one byte, and QEMU brings the next one soon after it was read. */
static size_t uart_read(uint8_t *bytes, size_t size) {
  size_t n = 0;
  for (uint32_t idle = 0; n < size && idle < UART_PATIENCE; idle++) {
    if (!(UART_STATE & UART_CAME)) continue;
    bytes[n++] = (uint8_t)UART_DATA;
    idle = 0;
  }
  return n;
}

int files_open(const char *path, files_mode mode) {
  if (strlen(path) == sizeof UART_NAME - 1 && memcmp(path, UART_NAME, sizeof UART_NAME) == 0) {
    UART_BAUDDIV = UART_LEAST_BAUDDIV; /* as fast as it can be */
    UART_CTRL = mode == FILES_WRITE ? UART_SENDS : UART_SENDS | UART_RECEIVES;
    return UART;
  }
  static const uint8_t MODES[] = {[FILES_READ] = MODE_RB, [FILES_WRITE] = MODE_WB, [FILES_CHANGE] = MODE_RWB};
  const uintptr_t block[] = {(uintptr_t)path, MODES[mode], strlen(path)};
  return (int)call(SYS_OPEN, block);
}

size_t files_size(int file) {
  const uintptr_t block[] = {(uintptr_t)file};
  const intptr_t size = call(SYS_FLEN, block);
  return size > 0 ? (size_t)size : 0;
}

size_t files_read(int file, void *bytes, size_t size) {
  if (file == UART) return uart_read(bytes, size);
  const uintptr_t block[] = {(uintptr_t)file, (uintptr_t)bytes, size};
  const size_t missing = (size_t)call(SYS_READ, block);
  return missing <= size ? size - missing : 0;
}

bool files_write(int file, const void *bytes, size_t size) {
  if (file == UART) return uart_write(bytes, size), true;
  const uintptr_t block[] = {(uintptr_t)file, (uintptr_t)bytes, size};
  return call(SYS_WRITE, block) == 0;
}

bool files_write_at(int file, size_t at, const void *bytes, size_t size) {
  const uintptr_t block[] = {(uintptr_t)file, at};
  return call(SYS_SEEK, block) == 0 && files_write(file, bytes, size);
}

bool files_close(int file) {
  if (file == UART) return true;
  const uintptr_t block[] = {(uintptr_t)file};
  return call(SYS_CLOSE, block) == 0;
}

void files_say(const char *text) { call(SYS_WRITE0, text); }

/* Arguments without blanks, as QEMU joins them. */
_Noreturn void port_run(void) {
  static char line[256];
  static char *argv[MOST_ARGUMENTS + 1];
  const uintptr_t block[] = {(uintptr_t)line, sizeof line};
  int argc = 0;
  if (call(SYS_GET_CMDLINE, block) != 0) {
    files_say("error: the arguments must be shorter than 256 characters\n");
    leave(2);
  }
  for (char *next = line; *next && argc < MOST_ARGUMENTS;) {
    argv[argc++] = next;
    while (*next && *next != ' ') next++;
    if (*next) *next++ = '\0';
  }
  leave(main(argc, argv));
}

_Noreturn void port_fault(void) {
  files_say("error: fault\n");
  leave(FAULT);
}
