/* What the sketches use of the library PDM of Arduino's package for the Nano 33 BLE Sense. */
#ifndef PDM_H
#define PDM_H

#include "Arduino.h"

class PDMClass {
public:
  int begin(int channels, int sampleRate);
  int read(void *buffer, size_t size);
  void onReceive(void (*function)(void));
  void setGain(int gain);
  void setBufferSize(int bufferSize);
};
extern PDMClass PDM;

#endif
