/* A core that runs a sketch on this machine. Serial writes to standard output. Raw int16 from standard input are what the
 * microphone hears, which interrupts once in each loop, or, where none was begun, what comes by Serial. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "PDM.h"

SerialClass Serial;
PDMClass PDM;

static void (*received)(void);
static size_t buffer_bytes = 512, available;
static bool begun, ended;
static char block[2048];
static int led;

static size_t printed(int n) { return n > 0 ? (size_t)n : 0; }
size_t Print::print(const char text[]) { return printed(printf("%s", text)); }
size_t Print::print(unsigned long n, int) { return printed(printf("%lu", n)); }
size_t Print::print(double x, int digits) { return printed(printf("%.*f", digits, x)); }
size_t Print::println(const char text[]) { return printed(printf("%s\n", text)); }
size_t Print::println(unsigned long n, int) { return printed(printf("%lu\n", n)); }
size_t Print::println(double x, int digits) { return printed(printf("%.*f\n", digits, x)); }
void SerialClass::begin(unsigned long) {}
size_t SerialClass::readBytes(char *buffer, size_t length) {
  const size_t n = fread(buffer, 1, length, stdin);
  ended = n == 0;
  return n;
}

void pinMode(int, int) {}
void digitalWrite(int pin, int status) {
  if (pin == LED_BUILTIN) led = status;
}
unsigned long micros(void) { return 0; }

int PDMClass::begin(int channels, int sampleRate) { return begun = channels == 1 && sampleRate == 16000; }
void PDMClass::onReceive(void (*function)(void)) { received = function; }
void PDMClass::setGain(int) {}
void PDMClass::setBufferSize(int bytes) { buffer_bytes = (size_t)bytes; }
int PDMClass::read(void *to, size_t size) {
  const size_t taken = size < available ? size : available;
  memcpy(to, block, taken);
  available = 0;
  return (int)taken;
}

int main(void) {
  setup();
  while (!ended) {
    if (begun && (available = fread(block, 1, buffer_bytes, stdin)) == 0) break;
    if (begun) received();
    if (available > 0) return 1; /* the real one would stop for good */
    loop();
  }
  printf("led %d\n", led);
  return 0;
}
