/* What the sketches use of an Arduino core, as ArduinoCore-API declares it, on a machine that plays a wav to them. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stddef.h>
#include <stdint.h>

enum { LOW = 0, HIGH = 1, OUTPUT = 1, LED_BUILTIN = 13 };

class Print {
public:
  size_t print(const char[]);
  size_t print(unsigned long, int = 10);
  size_t print(double, int = 2);
  size_t println(const char[]);
  size_t println(unsigned long, int = 10);
  size_t println(double, int = 2);
};

class SerialClass : public Print {
public:
  void begin(unsigned long baudrate);
  size_t readBytes(char *buffer, size_t length);
};
extern SerialClass Serial;

void pinMode(int pin, int mode);
void digitalWrite(int pin, int status);
unsigned long micros(void);
void setup(void);
void loop(void);

#endif
